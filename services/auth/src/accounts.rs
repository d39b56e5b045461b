//! What can be done with accounts and sessions.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;
use tutti_common::{
    clock::{SharedClock, UnixMs},
    config::Secret,
    ids::{SessionId, UserId},
    limits::{Limiter, Rule, Wait},
    rpc,
    status::Violation,
    token::{AccessClaims, SignError},
};

use crate::{
    AuthSettings,
    domain::{
        account::{Account, Login, Registration, User, Username},
        event::Place,
        network::Network,
        password::normalized,
        session::{NewToken, RefreshToken, Session, TokenHash},
    },
    events::{self, Events},
    guesses::{Allowed, Guesses, Origin},
    keys::PublicKey,
    passwords::{HashError, Passwords, Verdict},
    published::KeyRing,
    store::{AuthStore, Credentials, Naming, NewAccount, Rotation, StoreError},
};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("the request breaks rules")]
    Invalid(Vec<Violation>),
    #[error(transparent)]
    Limited(#[from] Wait),
    #[error("wrong login or password")]
    WrongLogin,
    #[error("the refresh token is not valid")]
    DeadToken,
    #[error("no such user")]
    NoSuchUser,
    #[error("the username is taken")]
    UsernameTaken,
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("no random bytes")]
    Random(#[from] getrandom::Error),
}

/// A session as its user gets to see it.
#[derive(Debug)]
pub(crate) struct OpenSession {
    pub(crate) account: Account,
    pub(crate) access_token: String,
    pub(crate) refresh_token: RefreshToken,
    /// Whole seconds, cut off.
    pub(crate) expires_in_s: u32,
    /// Counts the session's refresh tokens.
    pub(crate) generation: u32,
}

/// Who wants to register.
#[derive(Debug)]
pub(crate) struct Newcomer<'a> {
    pub(crate) email: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password: Secret,
    pub(crate) name: Option<&'a str>,
}

const MINUTE: Duration = Duration::from_mins(1);

/// The generation of a session's first refresh token.
const FIRST: u32 = 1;

/// For how long a network is known to an account after the last time a session was opened or renewed there.
const NETWORK_IS_KNOWN: Duration = Duration::from_hours(90 * 24);

/// As much of a login as tells unknown ones apart for the limit.
const LOGIN_KEY_CHARS: usize = 254;

/// The service, without a wire.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) store: Arc<dyn AuthStore>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) passwords: Passwords,
    pub(crate) limiter: Arc<dyn Limiter>,
    pub(crate) clock: SharedClock,
    pub(crate) settings: AuthSettings,
    pub(crate) events: Events,
    pub(crate) guesses: Guesses,
    /// What nobody waits for.
    pub(crate) background: TaskTracker,
}

impl Accounts {
    /// Makes an account and its first session.
    pub(crate) async fn register(
        &self,
        newcomer: Newcomer<'_>,
        network: Option<Network>,
    ) -> Result<OpenSession, AccountError> {
        self.limit_network(network.as_ref()).await?;
        let Newcomer {
            email,
            username,
            password,
            name,
        } = newcomer;
        let checked =
            Registration::check(email, username, &password, name).map_err(AccountError::Invalid)?;
        let password = checked.password.into_secret();
        let client = network.as_ref().map_or("", Network::as_str);
        let (key, rule) = self.registrations(network.as_ref());
        self.limiter.check(&key, rule, self.clock.now()).await?;
        let password_hash = self.passwords.hash(password, client).await?;
        let now = self.clock.now();
        let account = NewAccount {
            id: UserId::new(),
            email: checked.email,
            username: checked.username,
            name: checked.name,
            password_hash,
            created_at: now,
        };
        let session = SessionId::new();
        let (token, kept) = self.new_token(now, network)?;
        let made = named(self.store.create_account(&account, session, &kept).await?)?;
        // The account is there: if many were made at the same moment, those who come later wait longer.
        let _ = self.limiter.take(&key, rule, now).await;
        self.give_out(made, session, token, FIRST, now)
    }

    /// Opens a session for who knows the password.
    pub(crate) async fn login(
        &self,
        login: &str,
        password: Secret,
        network: Option<Network>,
    ) -> Result<OpenSession, AccountError> {
        self.limit_network(network.as_ref()).await?;
        let user_id = self
            .check_password(login, password, network.as_ref())
            .await?;
        let now = self.clock.now();
        let session = Session {
            id: SessionId::new(),
            user_id,
        };
        let (token, kept) = self.new_token(now, network)?;
        let account = self.store.open_session(session, &kept).await?;
        let account = account.ok_or(AccountError::WrongLogin)?;
        self.give_out(account, session.id, token, FIRST, now)
    }

    /// Whose login and password they are. For who asks, an account that is not there behaves as one that is.
    async fn check_password(
        &self,
        login: &str,
        password: Secret,
        network: Option<&Network>,
    ) -> Result<UserId, AccountError> {
        let known = match Login::parse(login) {
            Some(login) => self.store.credentials(&login).await?,
            None => None,
        };
        let account = known.as_ref().map_or_else(
            || format!("?{:.LOGIN_KEY_CHARS$}", login.to_lowercase()),
            |known| known.user_id.to_string(),
        );
        let origin = match network {
            Some(network) => {
                // Nobody's networks are looked for as well: it takes its time.
                let user = known
                    .as_ref()
                    .map_or_else(UserId::new, |known| known.user_id);
                let since = self.clock.now() - NETWORK_IS_KNOWN;
                if self.store.knows_network(user, network, since).await? {
                    Origin::Known(Some(network))
                } else {
                    Origin::Unknown(network)
                }
            }
            None => Origin::Known(None),
        };
        let guess = tokio::select! {
            guess = self.guesses.begin(&account, origin) => guess,
            () = rpc::caller_gone() => return Err(HashError::CallerGone.into()),
        };
        let client = network.map_or("", Network::as_str);
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let refusal = match guess.allowed().await {
            Allowed::Yes => None,
            Allowed::RightOnesOnly(wait) => Some(wait),
            Allowed::NoAndSlowly(wait) => {
                // Nothing is counted, so nobody has to wait for it.
                drop(guess);
                self.passwords.verify(password, None, client).await?;
                return Err(wait.into());
            }
            Allowed::No(wait) => return Err(wait.into()),
        };
        let verdict = self
            .passwords
            .verify(password.clone(), hash, client)
            .await?;
        match (known, verdict) {
            (Some(known), Verdict::Right) => Ok(known.user_id),
            (Some(known), Verdict::RightButOutdated) => {
                let user_id = known.user_id;
                self.hash_again(known, password);
                Ok(user_id)
            }
            (Some(_), Verdict::Wrong) | (None, _) => {
                guess.was_wrong().await?;
                Err(refusal.map_or(AccountError::WrongLogin, AccountError::Limited))
            }
        }
    }

    /// Replaces an outdated hash by one of today. The log-in neither waits for it nor fails with it: the next one tries again.
    fn hash_again(&self, known: Credentials, password: Secret) {
        let accounts = self.clone();
        self.background.spawn(async move {
            if let Err(error) = accounts.replace_hash(&known, &password).await {
                tracing::warn!(
                    user_id = %known.user_id,
                    error = &error as &dyn std::error::Error,
                    "cannot replace an outdated password hash; the next log-in tries again"
                );
            }
        });
    }

    async fn replace_hash(
        &self,
        known: &Credentials,
        password: &Secret,
    ) -> Result<(), AccountError> {
        let hash = self.passwords.hash(normalized(password), "").await?;
        Ok(self.store.replace_password_hash(known, &hash).await?)
    }

    /// Trades a refresh token for a new pair.
    pub(crate) async fn refresh(
        &self,
        token: &str,
        network: Option<Network>,
    ) -> Result<OpenSession, AccountError> {
        self.limit_network(network.as_ref()).await?;
        let now = self.clock.now();
        let (new, kept) = self.new_token(now, network)?;
        match self.store.rotate(TokenHash::of(token), &kept).await? {
            Rotation::Renewed(renewed) => self.give_out(
                renewed.account,
                renewed.session,
                new,
                renewed.generation,
                now,
            ),
            Rotation::Reused(session) => {
                tracing::warn!(
                    user_id = %session.user_id,
                    session_id = %session.id,
                    "a refresh token was used twice; its session is over"
                );
                self.events.happened();
                Err(AccountError::DeadToken)
            }
            Rotation::Dead => Err(AccountError::DeadToken),
        }
    }

    /// Ends the session that a refresh token belongs to, if any.
    pub(crate) async fn logout(&self, token: &str) -> Result<(), AccountError> {
        let now = self.clock.now();
        if self.store.end_session(TokenHash::of(token), now).await? {
            self.events.happened();
        }
        Ok(())
    }

    /// A user's own account.
    pub(crate) async fn account(&self, id: UserId) -> Result<Account, AccountError> {
        let account = self.store.account(id).await?;
        account.ok_or(AccountError::NoSuchUser)
    }

    /// Changes a username.
    pub(crate) async fn set_username(
        &self,
        id: UserId,
        username: &str,
    ) -> Result<Account, AccountError> {
        let username = Username::parse(username)
            .map_err(|message| AccountError::Invalid(vec![Violation::new("username", message)]))?;
        named(self.store.set_username(id, &username).await?)
    }

    /// Those of `ids` who are there.
    pub(crate) async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, AccountError> {
        Ok(self.store.users(ids).await?)
    }

    /// The keys that tokens are checked with, and the longest that a token may live.
    pub(crate) async fn public_keys(&self) -> (Vec<PublicKey>, Duration) {
        self.keys.told().await
    }

    /// Where a listener begins who wants to hear of all that happens from now on.
    pub(crate) async fn last_place(&self) -> Result<Place, AccountError> {
        Ok(self.store.last_event().await?)
    }

    /// Where a listener begins who wants to hear of all that happened since then.
    pub(crate) async fn place_before(&self, since: UnixMs) -> Result<Place, AccountError> {
        Ok(self.store.event_before(since).await?)
    }

    /// Forgets what is dead by now.
    pub(crate) async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut forgotten = 0;
        loop {
            match self.store.forget_dead_tokens(now).await? {
                0 => break,
                some => forgotten += some,
            }
        }
        if forgotten > 0 {
            tracing::info!(forgotten, "forgot expired refresh tokens");
        }
        while self.store.forget_networks(now - NETWORK_IS_KNOWN).await? > 0 {}
        let kept_for = events::kept_for(self.settings.access_token_ttl);
        while self.store.forget_events(now - kept_for).await? > 0 {}
        Ok(())
    }

    async fn limit_network(&self, network: Option<&Network>) -> Result<(), Wait> {
        let Some(network) = network else {
            return Ok(());
        };
        let rule = Rule {
            name: "auth",
            max: self.settings.rates.auth_per_minute,
            window: MINUTE,
        };
        let key = format!("auth:{}", network.as_str());
        self.limiter.take(&key, rule, self.clock.now()).await
    }

    /// How many accounts a network may register, and what they are counted under. Who names none is not limited.
    fn registrations(&self, network: Option<&Network>) -> (String, Rule) {
        let rule = Rule {
            name: "registrations",
            max: network.map_or(0, |_| self.settings.rates.registrations_per_hour),
            window: 60 * MINUTE,
        };
        let network = network.map_or("", Network::as_str);
        (format!("registrations:{network}"), rule)
    }

    fn new_token(
        &self,
        now: UnixMs,
        network: Option<Network>,
    ) -> Result<(RefreshToken, NewToken), AccountError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let token = RefreshToken::from_random(random);
        let kept = NewToken {
            hash: token.hash(),
            created_at: now,
            expires_at: now + self.settings.refresh_token_ttl,
            network,
        };
        Ok((token, kept))
    }

    fn give_out(
        &self,
        account: Account,
        session: SessionId,
        refresh_token: RefreshToken,
        generation: u32,
        now: UnixMs,
    ) -> Result<OpenSession, AccountError> {
        let ttl = self.settings.access_token_ttl;
        let access_token = self.keys.signer().sign(&AccessClaims {
            sub: account.user.id,
            sid: session,
            iat: now,
            exp: now + ttl,
        })?;
        Ok(OpenSession {
            account,
            access_token,
            refresh_token,
            expires_in_s: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
            generation,
        })
    }
}

fn named(naming: Naming) -> Result<Account, AccountError> {
    match naming {
        Naming::Done(account) => Ok(account),
        Naming::UsernameTaken => Err(AccountError::UsernameTaken),
        Naming::EmailTaken => Err(AccountError::EmailTaken),
        Naming::NoSuchUser => Err(AccountError::NoSuchUser),
    }
}
