//! The keys that access tokens are signed with: Ed25519, as PKCS#8 in PEM. A file holds one; a folder
//! holds several, for rotation: the last by file name is the newest and signs as soon as it is known everywhere
//! ([`crate::published`]), and all of them verify.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding},
};
use sha2::{Digest as _, Sha256};
use tutti_common::token::TokenSigner;

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is not an Ed25519 private key (PKCS#8, PEM)", .0.display())]
    NotAKey(PathBuf),
    /// The folder holds no files.
    #[error("no keys in {}", .0.display())]
    Empty(PathBuf),
    /// A new key cannot be kept.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A new key cannot be made.
    #[error("cannot make a key: {0}")]
    Make(String),
}

/// A public key, under the name that the tokens signed with its other half carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its RFC 7638 thumbprint.
    pub key_id: String,
    /// Its 32 bytes.
    pub bytes: [u8; 32],
}

/// The keys of a process, at least one, the newest last.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    signer: TokenSigner,
    public: PublicKey,
}

impl From<&SigningKey> for Key {
    fn from(key: &SigningKey) -> Self {
        let public = public_key(key.verifying_key().to_bytes());
        Self {
            signer: TokenSigner::new(public.key_id.clone(), key),
            public,
        }
    }
}

impl SigningKeys {
    /// Reads a key file or a folder of them. In a folder, what begins with a dot is left alone, and so
    /// are folders: that is how Kubernetes mounts a secret.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            files = files_in(path).map_err(|source| KeyError::Read {
                path: path.to_owned(),
                source,
            })?;
        }
        let keys = files
            .iter()
            .map(|file| read_key(file).map(|key| Key::from(&key)))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(KeyError::Empty(path.to_owned()));
        }
        Ok(Self(keys))
    }

    /// Reads them, and makes one where `path` is not there yet: a file for its owner only.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        if !path.exists() {
            let pem = Self::generate_pem()?;
            write_new(path, &pem).map_err(|source| KeyError::Write {
                path: path.to_owned(),
                source,
            })?;
            tracing::info!(path = %path.display(), "made a key to sign access tokens with");
        }
        Self::load(path)
    }

    /// A new key, as PKCS#8 in PEM.
    pub fn generate_pem() -> Result<String, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|source| KeyError::Make(source.to_string()))?;
        SigningKey::from_bytes(&seed)
            .to_pkcs8_pem(LineEnding::LF)
            .map(|pem| pem.to_string())
            .map_err(|source| KeyError::Make(source.to_string()))
    }

    /// Signs with the newest key.
    #[must_use]
    pub fn signer(&self) -> &TokenSigner {
        self.signer_of(self.0.len() - 1)
    }

    /// Signs with the key that is there in the order of [`public`](Self::public).
    pub(crate) fn signer_of(&self, place: usize) -> &TokenSigner {
        &self.0[place].signer
    }

    /// The public halves, the newest last.
    #[must_use]
    pub fn public(&self) -> impl ExactSizeIterator<Item = &PublicKey> {
        self.0.iter().map(|key| &key.public)
    }
}

fn public_key(bytes: [u8; 32]) -> PublicKey {
    // RFC 7638, section 3: the required members in this order, nothing between them (RFC 8037, section 2).
    let x = URL_SAFE_NO_PAD.encode(bytes);
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    PublicKey {
        key_id: URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.as_bytes())),
        bytes,
    }
}

/// By file name.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && !path.is_dir()
    });
    files.sort();
    Ok(files)
}

fn read_key(path: &Path) -> Result<SigningKey, KeyError> {
    let bytes = fs::read(path).map_err(|source| KeyError::Read {
        path: path.to_owned(),
        source,
    })?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|pem| SigningKey::from_pkcs8_pem(pem.trim()).ok())
        .ok_or_else(|| KeyError::NotAKey(path.to_owned()))
}

/// The file is whole as soon as it is there, and where somebody else came first, theirs stays.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{:016x}", getrandom::u64()?));
    let part = PathBuf::from(part);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&part, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // Some file systems know no links.
            Err(_) => fs::rename(&part, path),
            Ok(()) => Ok(()),
        });
    // After renaming it is gone already.
    let _ = fs::remove_file(&part);
    written
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

    use tutti_common::{
        clock::UnixMs,
        ids::{SessionId, UserId},
        token::{AccessClaims, TokenVerifier},
    };

    use super::{KeyError, SigningKeys, public_key};

    fn signs_for(keys: &SigningKeys, trusted: &SigningKeys) -> bool {
        let now = UnixMs(1_704_067_200_000);
        let claims = AccessClaims {
            sub: UserId::new(),
            sid: SessionId::new(),
            iat: now,
            exp: now + Duration::from_mins(1),
        };
        let token = keys.signer().sign(&claims).unwrap();
        let trusted = trusted
            .public()
            .map(|key| (key.key_id.clone(), key.bytes))
            .collect::<Vec<_>>();
        TokenVerifier::new(&trusted).verify(&token, now) == Ok(claims)
    }

    #[test]
    fn the_key_id_is_the_thumbprint() {
        // RFC 8037, appendix A.3.
        let x = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let bytes =
            std::array::from_fn(|at| u8::from_str_radix(&x[2 * at..2 * at + 2], 16).unwrap());
        assert_eq!(
            public_key(bytes).key_id,
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn the_first_start_makes_a_key_for_its_owner_only_and_the_next_one_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join("jwt.pem");
        let first = SigningKeys::load_or_create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = SigningKeys::load_or_create(&path).unwrap();
        assert!(first.public().eq(second.public()));
        assert!(signs_for(&first, &second));
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1);
    }

    #[test]
    fn of_a_folder_the_last_signs_and_all_verify() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (
            folder.path().join("2024.pem"),
            folder.path().join("2025.pem"),
        );
        fs::write(&new, SigningKeys::generate_pem().unwrap()).unwrap();
        fs::write(&old, SigningKeys::generate_pem().unwrap()).unwrap();
        fs::write(folder.path().join(".hidden"), "no key").unwrap();
        fs::create_dir(folder.path().join("zzz")).unwrap();
        let both = SigningKeys::load(folder.path()).unwrap();
        let (old, new) = (
            SigningKeys::load(&old).unwrap(),
            SigningKeys::load(&new).unwrap(),
        );
        assert_eq!(both.public().len(), 2);
        assert!(signs_for(&both, &new));
        assert!(!signs_for(&both, &old));
        assert!(signs_for(&old, &both));
    }

    #[test]
    fn what_openssl_makes_is_read() {
        // openssl genpkey -algorithm ed25519
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
            -----END PRIVATE KEY-----\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, pem).unwrap();
        // RFC 8037, appendix A.1 and A.3: the same key.
        assert_eq!(
            SigningKeys::load(&path)
                .unwrap()
                .public()
                .next()
                .unwrap()
                .key_id,
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn what_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(
            SigningKeys::load(&path),
            Err(KeyError::Read { .. })
        ));
        assert!(matches!(
            SigningKeys::load(folder.path()),
            Err(KeyError::Empty(_))
        ));
        fs::write(&path, "hello").unwrap();
        let error = SigningKeys::load(&path).unwrap_err();
        assert!(matches!(error, KeyError::NotAKey(_)));
        assert!(error.to_string().contains("key"));
        assert!(matches!(
            SigningKeys::load_or_create(&path),
            Err(KeyError::NotAKey(_))
        ));
        assert_eq!(fs::read(&path).unwrap(), b"hello");
    }
}
