//! Whose token it is.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use tutti_common::{
    clock::{SharedClock, UnixMs},
    rpc::Transport,
    token::{AccessClaims, TokenError, TokenVerifier},
};
use tutti_proto::auth::{GetSigningKeysRequest, auth_service_client::AuthServiceClient};

/// How long fetched keys are believed to be all there are, when a token names another.
const FRESH_MS: i64 = 5_000;

/// Checks access tokens with the auth service's public keys, which it fetches when it needs them.
#[derive(Clone)]
pub(crate) struct Identity {
    client: AuthServiceClient<Transport>,
    clock: SharedClock,
    known: Arc<RwLock<Option<Known>>>,
    fetching: Arc<Mutex<()>>,
}

struct Known {
    keys: Vec<(String, [u8; 32])>,
    verifier: TokenVerifier,
    fetched_at: UnixMs,
}

/// Why nobody is known by a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    /// It is not a good token.
    #[error("a valid access token is required")]
    Refused,
    /// The keys to check it with cannot be had.
    #[error("the auth service is unavailable")]
    Unavailable,
}

impl Identity {
    pub(crate) fn new(auth: Transport, clock: SharedClock) -> Self {
        Self {
            client: AuthServiceClient::new(auth),
            clock,
            known: Arc::default(),
            fetching: Arc::default(),
        }
    }

    /// Who holds the token.
    pub(crate) async fn verify(&self, token: &str) -> Result<AccessClaims, IdentityError> {
        let now = self.clock.now();
        match self.try_known(token, now) {
            Some(Ok(claims)) => return Ok(claims),
            Some(Err(TokenError::UnknownKey)) | None => {}
            Some(Err(_)) => return Err(IdentityError::Refused),
        }
        self.fetch_older_than(UnixMs(now.0 - FRESH_MS)).await?;
        match self.try_known(token, now) {
            Some(Ok(claims)) => Ok(claims),
            Some(Err(_)) => Err(IdentityError::Refused),
            None => Err(IdentityError::Unavailable),
        }
    }

    fn try_known(&self, token: &str, now: UnixMs) -> Option<Result<AccessClaims, TokenError>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .map(|known| known.verifier.verify(token, now))
    }

    /// The public keys, fetched anew where they are older than `than`.
    pub(crate) async fn keys(&self) -> Result<Vec<(String, [u8; 32])>, IdentityError> {
        self.fetch_older_than(UnixMs(self.clock.now().0 - FRESH_MS))
            .await?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .map(|known| known.keys.clone())
            .ok_or(IdentityError::Unavailable)
    }

    async fn fetch_older_than(&self, than: UnixMs) -> Result<(), IdentityError> {
        // One asks; the others wait for the answer.
        let _turn = self.fetching.lock().await;
        let fetched_at = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.as_ref().map(|known| known.fetched_at)
        };
        if fetched_at.is_some_and(|fetched_at| fetched_at > than) {
            return Ok(());
        }
        let answer = self
            .client
            .clone()
            .get_signing_keys(GetSigningKeysRequest {})
            .await
            .map_err(|status| {
                tracing::warn!(%status, "cannot fetch signing keys");
                IdentityError::Unavailable
            })?
            .into_inner();
        let keys = answer
            .keys
            .into_iter()
            .filter_map(|key| Some((key.key_id, key.public_key.try_into().ok()?)))
            .collect::<Vec<_>>();
        let known = Known {
            verifier: TokenVerifier::new(&keys),
            keys,
            fetched_at: self.clock.now(),
        };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(())
    }
}
