//! Which keys tokens are believed by, and which one signs. Each process knows only the keys it was started with, so each
//! publishes its own in the database, and all of them tell gateways of the keys of all.

use std::{
    cmp::Reverse,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tutti_common::{
    clock::{SharedClock, UnixMs},
    ids::ConnectionId,
    token::TokenSigner,
};

use crate::{
    keys::{PublicKey, SigningKeys},
    store::{AuthStore, StoreError},
};

/// How often a process says that it has its keys.
pub(crate) const PUBLISH_EVERY: Duration = Duration::from_secs(15);

/// How long a key is told after its last process said that it has it: two of three may be missed. Gateways ask every 10 s, and
/// what was taken away is to be trusted for less than a minute.
const TOLD_FOR: Duration = Duration::from_secs(45);

/// How long a key must have been published before it signs, where an older one can: long enough for every gateway to have
/// asked, even if that failed once.
const KNOWN_AFTER: Duration = Duration::from_secs(30);

/// How long what a process published is kept.
const KEPT: Duration = Duration::from_hours(1);

/// How long the database may take to say which keys there are. What was known last is nearly as good, and a caller who gets
/// no answer within a second takes this process for dead.
const PATIENCE: Duration = Duration::from_millis(500);

/// A public key as some process has published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// The key.
    pub key: PublicKey,
    /// How long the access tokens of that process live.
    pub access_token_ttl: Duration,
    /// Since when it is told.
    pub published_at: UnixMs,
}

/// Which of a process's own keys signs, the newest being the last: the newest that everybody knows by now. Where none is
/// known, the one that was published first, and of those that were published together the newest; so the only key of a
/// process signs at once. `published` may hold a key several times.
#[must_use]
pub fn signing_place<'a>(
    own: impl ExactSizeIterator<Item = &'a PublicKey>,
    published: &[PublishedKey],
    now: UnixMs,
) -> usize {
    let own_since = own.map(|own| {
        let same = published.iter().filter(|published| published.key == *own);
        same.map(|published| published.published_at).min()
    });
    let ranked = own_since.enumerate().map(|(place, since)| {
        let since = since.unwrap_or(now);
        let is_known = now.since(since) >= KNOWN_AFTER;
        let unknown_since = if is_known { UnixMs::default() } else { since };
        (!is_known, unknown_since, Reverse(place))
    });
    ranked.min().map_or(0, |(_, _, Reverse(place))| place)
}

/// The keys of this process and, as far as it knows, of the others.
pub(crate) struct KeyRing {
    /// Made anew each time it starts.
    process_id: String,
    own: SigningKeys,
    access_token_ttl: Duration,
    store: Arc<dyn AuthStore>,
    clock: SharedClock,
    published: RwLock<Vec<PublishedKey>>,
}

impl KeyRing {
    pub(crate) fn new(
        own: SigningKeys,
        access_token_ttl: Duration,
        store: Arc<dyn AuthStore>,
        clock: SharedClock,
    ) -> Self {
        Self {
            process_id: ConnectionId::new().to_string(),
            own,
            access_token_ttl,
            store,
            clock,
            published: RwLock::default(),
        }
    }

    /// Says that this process has its keys, and looks which others there are.
    pub(crate) async fn publish(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let own = self.own.public().map(|key| PublishedKey {
            key: key.clone(),
            access_token_ttl: self.access_token_ttl,
            published_at: now,
        });
        let own = own.collect::<Vec<_>>();
        self.store
            .publish_keys(&self.process_id, &own, now - KEPT)
            .await?;
        self.look().await
    }

    async fn look(&self) -> Result<(), StoreError> {
        let since = self.clock.now() - TOLD_FOR;
        let found = self.store.published_keys(since).await?;
        *self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    fn published(&self) -> Vec<PublishedKey> {
        self.published
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The key to sign with now.
    pub(crate) fn signer(&self) -> &TokenSigner {
        let published = self
            .published
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let place = signing_place(self.own.public(), &published, self.clock.now());
        self.own.signer_of(place)
    }

    /// The keys of all processes and the longest that a token of theirs may live; where the database does not answer, as they
    /// were known last.
    pub(crate) async fn told(&self) -> (Vec<PublicKey>, Duration) {
        match tokio::time::timeout(PATIENCE, self.look()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot look which signing keys there are; those known last are told"
            ),
            Err(_) => {
                tracing::warn!("the database does not answer; the keys known last are told");
            }
        }
        let mut keys = self.own.public().cloned().collect::<Vec<_>>();
        let mut longest = self.access_token_ttl;
        for published in self.published() {
            longest = longest.max(published.access_token_ttl);
            if !keys.contains(&published.key) {
                keys.push(published.key);
            }
        }
        (keys, longest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tutti_common::clock::UnixMs;

    use super::{PublishedKey, signing_place};
    use crate::keys::PublicKey;

    const NOW: UnixMs = UnixMs(1_704_067_200_000);

    fn key(number: u8) -> PublicKey {
        PublicKey {
            key_id: number.to_string(),
            bytes: [number; 32],
        }
    }

    fn published(number: u8, seconds_ago: u64) -> PublishedKey {
        PublishedKey {
            key: key(number),
            access_token_ttl: Duration::from_mins(15),
            published_at: NOW - Duration::from_secs(seconds_ago),
        }
    }

    /// Of keys 1, 2 and so on, which one signs.
    fn signs(own: u8, published: &[PublishedKey]) -> usize {
        let own = (1..=own).map(key).collect::<Vec<_>>();
        signing_place(own.iter(), published, NOW) + 1
    }

    #[test]
    fn a_new_key_signs_once_it_has_been_published_long_enough() {
        assert_eq!(signs(2, &[published(1, 3_600), published(2, 0)]), 1);
        assert_eq!(signs(2, &[published(1, 3_600), published(2, 29)]), 1);
        assert_eq!(signs(2, &[published(1, 3_600), published(2, 30)]), 2);
        // By another process, earlier.
        let by_two = [published(1, 3_600), published(2, 0), published(2, 40)];
        assert_eq!(signs(2, &by_two), 2);
        let three = [published(1, 3_600), published(2, 60), published(3, 5)];
        assert_eq!(signs(3, &three), 2);
        // Others' keys are others'.
        assert_eq!(signs(1, &[published(1, 60), published(2, 3_600)]), 1);
    }

    #[test]
    fn where_none_is_known_one_signs_at_once() {
        assert_eq!(signs(1, &[]), 1);
        assert_eq!(signs(1, &[published(1, 0)]), 1);
        assert_eq!(signs(2, &[]), 2);
        assert_eq!(signs(2, &[published(1, 0), published(2, 0)]), 2);
        // Somebody knows the older one already.
        assert_eq!(signs(2, &[published(1, 5), published(2, 0)]), 1);
        assert_eq!(signs(2, &[published(1, 5)]), 1);
    }
}
