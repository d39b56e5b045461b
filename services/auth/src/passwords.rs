//! Hashing passwords: slow on purpose, so off the threads that serve, no more at once than there are processors, and only for
//! those who still wait for it.

use std::{thread::available_parallelism, time::Duration};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        self,
        phc::{self, Output, ParamsString, PasswordHash, Salt},
    },
};
use tutti_common::{config::Secret, rpc};

use crate::{
    domain::password::normalized,
    hashing_queue::{Full, HashingQueue, Slot},
};

/// argon2id with 19 MiB, 2 passes, 1 lane: the OWASP Password Storage Cheat Sheet's first setting.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// More than the greatest `M_MMAP_THRESHOLD` of glibc, 32 MiB: what is reserved above it goes back to the
/// system as soon as it is freed. Less would stay with the thread that hashed, and there are many.
const RESERVED: usize = 33 << 20;

/// Checked where there is no such user, so that it takes as long as where there is one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How long a password may wait for its turn: less than the deadline of the calls that hash one
/// (`rpc::HASHING_DEADLINE`), since nobody is there for the answer after that.
const PATIENCE: Duration = Duration::from_secs(8);

/// What comes of checking a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not the one.
    Wrong,
    /// It is the one.
    Right,
    /// It is the one, but today it would be hashed with more work, or in NFC.
    RightButOutdated,
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    /// Too many others wait.
    #[error("too many passwords to hash")]
    Busy,
    /// What is kept is not of the kind that is made here.
    #[error("cannot check a password hash")]
    Kept(#[from] password_hash::Error),
    /// The password, the salt or the parameters are beyond what the algorithm takes.
    #[error("cannot hash a password")]
    Hash(#[from] argon2::Error),
    /// What is kept cannot be read.
    #[error("cannot read a password hash")]
    Read(#[from] phc::Error),
    /// The thread that hashed is gone.
    #[error("hashing was cut off")]
    Gone(#[from] tokio::task::JoinError),
    /// Too many of the same client wait.
    #[error(transparent)]
    Full(#[from] Full),
    /// Who asked for it is not there for the answer.
    #[error("nobody waits for the password to be hashed")]
    CallerGone,
}

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    queue: HashingQueue,
    patience: Duration,
}

impl Default for Passwords {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            queue: HashingQueue::new(processors),
            patience: PATIENCE,
        }
    }
}

impl Passwords {
    /// The hash to keep of a password in NFC, in the PHC string format. Clients take turns.
    pub(crate) async fn hash(&self, password: Secret, client: &str) -> Result<String, HashError> {
        let slot = self.slot(client).await?;
        tokio::task::spawn_blocking(move || {
            let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
            let salt = Salt::generate();
            let hash = PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(&params)?,
                salt: Some(salt),
                hash: Some(derive(&password, &salt, params)?),
            };
            drop(slot);
            Ok(hash.to_string())
        })
        .await?
    }

    /// Whether `password` is the one that `hash` was made of; no hash, no match, after the same time. It is tried in NFC, and
    /// as it came where that differs: hashes of former versions were made of passwords as they came. Clients take turns.
    pub(crate) async fn verify(
        &self,
        password: Secret,
        hash: Option<String>,
        client: &str,
    ) -> Result<Verdict, HashError> {
        let slot = self.slot(client).await?;
        tokio::task::spawn_blocking(move || {
            // Until the work is done, whichever way it ends.
            let _slot = slot;
            let known = hash.is_some();
            let kept = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY))?;
            let params = Params::try_from(&kept)?;
            let salt = kept.salt.ok_or(password_hash::Error::SaltInvalid)?;
            // Outputs are compared in constant time.
            let is_made_of = |password: &Secret| -> Result<bool, HashError> {
                Ok(kept.hash == Some(derive(password, &salt, params.clone())?) && known)
            };
            let normalized = normalized(&password);
            if is_made_of(&normalized)? {
                Ok(if is_weak(&kept, &params) {
                    Verdict::RightButOutdated
                } else {
                    Verdict::Right
                })
            } else if normalized.expose() != password.expose() && is_made_of(&password)? {
                Ok(Verdict::RightButOutdated)
            } else {
                Ok(Verdict::Wrong)
            }
        })
        .await?
    }

    /// A processor, as soon as it is the client's turn.
    async fn slot(&self, client: &str) -> Result<Slot, HashError> {
        tokio::select! {
            biased;
            // First: nothing is hashed for whoever has gone, also where a processor is free.
            () = rpc::caller_gone() => Err(HashError::CallerGone),
            slot = self.queue.wait(client) => {
                let slot = slot?;
                metrics::counter!("tutti_password_hashes_total").increment(1);
                Ok(slot)
            }
            () = tokio::time::sleep(self.patience) => Err(HashError::Busy),
        }
    }
}

/// Whether a hash costs who guesses its password less than one that is made today. More memory makes up for fewer passes, and
/// nothing for less memory.
fn is_weak(hash: &PasswordHash, params: &Params) -> bool {
    let work = |memory: u32, passes: u32| u64::from(memory) * u64::from(passes);
    hash.algorithm != Algorithm::Argon2id.ident()
        || hash.version != Some(Version::V0x13.into())
        || params.m_cost() < MEMORY_KIB
        || work(params.m_cost(), params.t_cost()) < work(MEMORY_KIB, PASSES)
}

/// argon2id, version 0x13, of a password.
fn derive(password: &Secret, salt: &[u8], params: Params) -> Result<Output, HashError> {
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(RESERVED / Block::SIZE));
    memory.resize(blocks, Block::default());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        password.expose().as_bytes(),
        salt,
        &mut output,
        &mut memory,
    )?;
    Ok(Output::new(&output)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use argon2::{
        Params,
        password_hash::phc::{PasswordHash, Salt},
    };
    use tutti_common::{config::Secret, rpc};

    use super::{HashError, LANES, MEMORY_KIB, NOBODY, PASSES, Passwords, Verdict, is_weak};
    use crate::hashing_queue::HashingQueue;

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let passwords = Passwords::default();
        let secret = |text: &str| Secret::new(text);
        let hash = passwords.hash(secret("correct horse"), "").await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(
            hash,
            passwords.hash(secret("correct horse"), "").await.unwrap()
        );
        for (text, hash, verdict) in [
            ("correct horse", Some(hash.clone()), Verdict::Right),
            ("correct house", Some(hash.clone()), Verdict::Wrong),
            ("correct horse ", Some(hash), Verdict::Wrong),
            ("correct horse", None, Verdict::Wrong),
        ] {
            let verified = passwords.verify(secret(text), hash, "").await;
            assert_eq!(verified.unwrap(), verdict, "{text:?}");
        }
        let broken = passwords.verify(secret("correct horse"), Some("plain".to_owned()), "");
        assert!(matches!(broken.await, Err(HashError::Read(_))));
    }

    #[test]
    fn a_hash_that_costs_less_than_todays_is_weak() {
        for (params, weak) in [
            ("argon2id$v=19$m=19456,t=2,p=1", false),
            ("argon2id$v=19$m=47104,t=1,p=1", false),
            ("argon2id$v=19$m=65536,t=3,p=4", false),
            ("argon2id$v=19$m=19456,t=1,p=1", true),
            ("argon2id$v=19$m=12288,t=3,p=1", true),
            ("argon2id$v=16$m=19456,t=2,p=1", true),
            ("argon2i$v=19$m=19456,t=2,p=1", true),
        ] {
            let hash = format!("${params}${}", NOBODY.splitn(5, '$').nth(4).unwrap());
            let hash = PasswordHash::new(&hash).unwrap();
            let costs = Params::try_from(&hash).unwrap();
            assert_eq!(is_weak(&hash, &costs), weak, "{params}");
        }
    }

    #[test]
    fn nobodys_hash_takes_as_long_as_anybodys() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&hash).unwrap();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (MEMORY_KIB, PASSES, LANES)
        );
        assert_eq!(
            hash.salt.map(|salt| salt.len()),
            Some(Salt::RECOMMENDED_LENGTH)
        );
        assert_eq!(
            hash.hash.map(|hash| hash.len()),
            Some(Params::DEFAULT_OUTPUT_LEN)
        );
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_so() {
        let passwords = Passwords {
            queue: HashingQueue::new(0),
            patience: Duration::ZERO,
        };
        let hashed = passwords.hash(Secret::new("correct horse"), "").await;
        assert!(matches!(hashed, Err(HashError::Busy)));
    }

    #[tokio::test]
    async fn nothing_is_hashed_for_whoever_has_no_time_left() {
        let passwords = Passwords::default();
        let hash = passwords.hash(Secret::new("correct horse"), "");
        let hashed = rpc::answer_by(Instant::now(), hash).await;
        assert!(matches!(hashed, Err(HashError::CallerGone)));
    }
}
