//! Whose token it is.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};
use tutti_common::{
    clock::SharedClock,
    ids::SessionId,
    rpc::{self, Transport},
    token::{AccessClaims, TokenError, TokenVerifier},
};
use tutti_proto::auth::{GetSigningKeysRequest, auth_service_client::AuthServiceClient};

use crate::ended::EndedSessions;

/// How often the signing keys are fetched at most: tokens with keys that nobody has cost no more than this.
const FETCH_EVERY: Duration = Duration::from_secs(1);

/// How much longer than its lifetime a token may be believed: clocks differ.
const CLOCKS_APART: Duration = Duration::from_mins(1);

/// Checks access tokens with the public keys of the auth service, which it fetches anew when it meets a key it does not
/// know, and against the sessions that have ended.
#[derive(Clone)]
pub(crate) struct Identity {
    client: AuthServiceClient<Transport>,
    clock: SharedClock,
    /// How long a token is taken to live at least, for remembering sessions that have ended.
    least_lifetime: Duration,
    known: Arc<RwLock<Option<Known>>>,
    fetching: Arc<Mutex<Option<Fetch>>>,
    ended: Arc<EndedSessions>,
}

struct Known {
    keys: Vec<(String, [u8; 32])>,
    verifier: TokenVerifier,
    /// How long a token lives; an older auth process does not say.
    lifetime: Option<Duration>,
}

/// The last time the keys were fetched.
#[derive(Clone, Copy)]
struct Fetch {
    began: Instant,
    /// `None` where nobody waited for the answer.
    outcome: Option<Result<(), IdentityError>>,
}

/// Why nobody is known by a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    /// It is not a good token.
    #[error("a valid access token is required")]
    Refused,
    /// What it is to be checked with cannot be had.
    #[error("the auth service is unavailable")]
    Unavailable,
}

impl Identity {
    /// `least_lifetime` is how long this gateway believes a token to live where the auth service does not say more.
    pub(crate) fn new(auth: Transport, clock: SharedClock, least_lifetime: Duration) -> Self {
        Self {
            client: AuthServiceClient::new(auth),
            clock,
            least_lifetime,
            known: Arc::default(),
            fetching: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// Who holds the token. A token with an unknown key is refused only after the keys were fetched once it was there; it
    /// may be signed with a new one.
    pub(crate) async fn verify(&self, token: &str) -> Result<AccessClaims, IdentityError> {
        let arrived = Instant::now();
        rpc::in_time(self.ended.caught_up())
            .await
            .map_err(|_| IdentityError::Unavailable)?;
        let verified = match self.try_known(token) {
            Some(Err(TokenError::UnknownKey)) | None => {
                self.fetch(arrived).await?;
                self.try_known(token)
            }
            verified => verified,
        };
        match verified {
            Some(Ok(claims)) if !self.has_ended(claims.sid) => Ok(claims),
            Some(_) => Err(IdentityError::Refused),
            None => Err(IdentityError::Unavailable),
        }
    }

    fn try_known(&self, token: &str) -> Option<Result<AccessClaims, TokenError>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .map(|known| known.verifier.verify(token, self.clock.now()))
    }

    /// Whether a session has ended. Who puts a connection into a session asks this after it can be found there: the end may
    /// have come between the check of its token and that.
    pub(crate) fn has_ended(&self, session: SessionId) -> bool {
        self.ended.contains(session)
    }

    /// A session has ended.
    pub(crate) fn end(&self, session: SessionId) {
        let now = self.clock.now();
        self.ended.add(session, now + self.token_life(), now);
    }

    /// All sessions are known that ended before this gateway started and of which a token may live.
    pub(crate) fn set_caught_up(&self) {
        self.ended.set_caught_up();
    }

    /// How long a token may be believed after it was issued.
    pub(crate) fn token_life(&self) -> Duration {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let told = known.as_ref().and_then(|known| known.lifetime);
        told.unwrap_or_default().max(self.least_lifetime) + CLOCKS_APART
    }

    /// The public keys as they were a moment ago; while the auth service does not answer, those that are known.
    pub(crate) async fn keys(&self) -> Result<Vec<(String, [u8; 32])>, IdentityError> {
        let now = Instant::now();
        let fetched = self
            .fetch(now.checked_sub(FETCH_EVERY).unwrap_or(now))
            .await;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some(known) => Ok(known.keys.clone()),
            None => Err(fetched.err().unwrap_or(IdentityError::Unavailable)),
        }
    }

    /// Fetches the keys, unless that began after `than`. One asks, and the others wait for the answer.
    pub(crate) async fn fetch(&self, than: Instant) -> Result<(), IdentityError> {
        let fetched = rpc::in_time(async {
            let mut last = self.fetching.lock().await;
            if let Some(Fetch { began, outcome }) = *last {
                if let Some(outcome) = outcome
                    && began > than
                {
                    return outcome;
                }
                sleep_until(began + FETCH_EVERY).await;
            }
            // Noted before it is done: one that is given up counts too.
            let mut fetch = Fetch {
                began: Instant::now(),
                outcome: None,
            };
            *last = Some(fetch);
            let outcome = self.fetch_now().await;
            fetch.outcome = Some(outcome);
            *last = Some(fetch);
            outcome
        });
        fetched.await.unwrap_or(Err(IdentityError::Unavailable))
    }

    async fn fetch_now(&self) -> Result<(), IdentityError> {
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
        let lifetime = answer.access_token_ttl_ms.map(Duration::from_millis);
        let known = Known {
            verifier: TokenVerifier::new(&keys).with_lifetime(lifetime),
            keys,
            lifetime,
        };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        },
        time::Duration,
    };

    use axum::{Router, body, routing::post};
    use http::{Request, Response, header::CONTENT_TYPE};
    use tonic::{Status, body::Body};
    use tower::{ServiceExt as _, service_fn, util::BoxCloneSyncService};
    use tutti_common::{clock::SystemClock, ids::SessionId};

    use super::{FETCH_EVERY, Identity, IdentityError};

    /// An auth service without keys, which may be away. How often it was asked.
    #[derive(Clone, Default)]
    struct Auth {
        fetches: Arc<AtomicUsize>,
        is_away: Arc<AtomicBool>,
    }

    impl Auth {
        fn identity(&self) -> Identity {
            let auth = self.clone();
            let answer = post(move || {
                auth.fetches.fetch_add(1, SeqCst);
                let is_away = auth.is_away.load(SeqCst);
                async move {
                    if is_away {
                        return Status::unavailable("away").into_http::<Body>();
                    }
                    // An empty message, without compression.
                    let body = body::Body::from(&[0, 0, 0, 0, 0][..]);
                    let answer = Response::builder()
                        .header(CONTENT_TYPE, "application/grpc")
                        .header("grpc-status", "0");
                    answer.body(Body::new(body)).unwrap()
                }
            });
            let routes = Router::new().route("/tutti.auth.v1.AuthService/GetSigningKeys", answer);
            let service = service_fn(move |request: Request<Body>| {
                let routes = routes.clone();
                async move {
                    let Ok(answer) = routes.oneshot(request).await;
                    Ok::<_, Status>(answer.map(Body::new))
                }
            });
            let identity = Identity::new(
                BoxCloneSyncService::new(service),
                Arc::new(SystemClock),
                Duration::from_mins(15),
            );
            identity.set_caught_up();
            identity
        }

        fn fetches(&self) -> usize {
            self.fetches.load(SeqCst)
        }
    }

    /// Well-formed, with a key that nobody has.
    fn forged() -> String {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","alg":"EdDSA","kid":"nobodys"}"#);
        format!("{header}.e30.AAAA")
    }

    #[tokio::test]
    async fn an_unknown_key_is_refused_only_after_a_fetch_that_began_later() {
        let auth = Auth::default();
        let identity = auth.identity();
        for fetches in 1..3 {
            let verified = identity.verify(&forged()).await;
            assert_eq!(verified, Err(IdentityError::Refused));
            assert_eq!(
                auth.fetches(),
                fetches,
                "what was fetched before does not count"
            );
        }
        auth.is_away.store(true, SeqCst);
        let verified = identity.verify(&forged()).await;
        assert_eq!(verified, Err(IdentityError::Unavailable));
        auth.is_away.store(false, SeqCst);
        let verified = identity.verify(&forged()).await;
        assert_eq!(verified, Err(IdentityError::Refused));
    }

    #[tokio::test]
    async fn forged_keys_cost_one_fetch_a_second_however_many_there_are() {
        let auth = Auth::default();
        let identity = auth.identity();
        let begun = tokio::time::Instant::now();
        for _ in 0..3 {
            let token = forged();
            let all = (0..100).map(|_| identity.verify(&token));
            for verified in futures_util::future::join_all(all).await {
                assert_eq!(verified, Err(IdentityError::Refused));
            }
        }
        // Those who come together share one.
        assert!(auth.fetches() <= 4, "{} fetches", auth.fetches());
        assert!(begun.elapsed() >= 2 * FETCH_EVERY);
    }

    #[tokio::test]
    async fn nobody_is_believed_before_the_ended_sessions_are_known() {
        let auth = Auth::default();
        let identity = auth.identity();
        let unaware = Identity {
            ended: Arc::default(),
            ..identity.clone()
        };
        let verified = unaware.verify(&forged()).await;
        assert_eq!(verified, Err(IdentityError::Unavailable));
        assert_eq!(auth.fetches(), 0);
        let session = SessionId::new();
        assert!(!identity.has_ended(session));
        identity.end(session);
        assert!(identity.has_ended(session));
    }
}
