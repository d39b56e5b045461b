//! What can be done with accounts and sessions.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;
use tutti_common::{
    clock::{SharedClock, UnixMs},
    config::Secret,
    ids::{SessionId, UserId},
    limits::{Limiter, Rule, Wait},
    status::Violation,
    token::{AccessClaims, SignError},
};

use crate::{
    AuthSettings,
    domain::{
        account::{Account, Login, Registration, User, Username},
        event::Place,
        password::normalized,
        session::{NewToken, RefreshToken, Session, TokenHash},
    },
    events::{self, Events},
    keys::PublicKey,
    passwords::{HashError, Passwords, Verdict},
    published::KeyRing,
    store::{AuthStore, Credentials, Naming, NewAccount, Rotation, StoreError},
    turns::Turns,
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
    pub(crate) turns: Turns,
    /// What nobody waits for.
    pub(crate) background: TaskTracker,
}

impl Accounts {
    /// Makes an account and its first session.
    pub(crate) async fn register(
        &self,
        newcomer: Newcomer<'_>,
        address: Option<&str>,
    ) -> Result<OpenSession, AccountError> {
        self.limit_address(address).await?;
        let Newcomer {
            email,
            username,
            password,
            name,
        } = newcomer;
        let checked =
            Registration::check(email, username, &password, name).map_err(AccountError::Invalid)?;
        let password_hash = self.passwords.hash(checked.password.into_secret()).await?;
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
        let (token, kept) = self.new_token(now)?;
        let made = self.store.create_account(&account, session, &kept).await?;
        self.give_out(named(made)?, session, token, FIRST, now)
    }

    /// Opens a session for who knows the password.
    pub(crate) async fn login(
        &self,
        login: &str,
        password: Secret,
        address: Option<&str>,
    ) -> Result<OpenSession, AccountError> {
        self.limit_address(address).await?;
        let user_id = self.check_password(login, password, address).await?;
        let now = self.clock.now();
        let session = Session {
            id: SessionId::new(),
            user_id,
        };
        let (token, kept) = self.new_token(now)?;
        let account = self.store.open_session(session, &kept).await?;
        let account = account.ok_or(AccountError::WrongLogin)?;
        self.give_out(account, session.id, token, FIRST, now)
    }

    /// Whose login and password they are. Counts wrong ones for each account and address; for who
    /// asks, an account that is not there behaves as one that is.
    async fn check_password(
        &self,
        login: &str,
        password: Secret,
        address: Option<&str>,
    ) -> Result<UserId, AccountError> {
        let known = match Login::parse(login) {
            Some(login) => self.store.credentials(&login).await?,
            None => None,
        };
        let whose = known.as_ref().map_or_else(
            || login.to_lowercase().chars().take(LOGIN_KEY_CHARS).collect(),
            |known| known.user_id.to_string(),
        );
        let key = format!("login:{whose}:{}", address.unwrap_or_default());
        let rule = Rule {
            name: "login_failures",
            max: self.settings.rates.login_failures_per_15_minutes,
            window: 15 * MINUTE,
        };
        // Else a hundred at once would all be checked before the first of them is counted.
        let _turn = match rule.max {
            0 => None,
            _ => Some(self.turns.wait(&key).await),
        };
        self.limiter.check(&key, rule, self.clock.now()).await?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let verdict = self.passwords.verify(password.clone(), hash).await?;
        match (known, verdict) {
            (Some(known), Verdict::Right) => Ok(known.user_id),
            (Some(known), Verdict::RightButOutdated) => {
                let user_id = known.user_id;
                self.hash_again(known, password);
                Ok(user_id)
            }
            (Some(_), Verdict::Wrong) | (None, _) => {
                self.limiter.take(&key, rule, self.clock.now()).await?;
                Err(AccountError::WrongLogin)
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
        let hash = self.passwords.hash(normalized(password)).await?;
        Ok(self.store.replace_password_hash(known, &hash).await?)
    }

    /// Trades a refresh token for a new pair.
    pub(crate) async fn refresh(
        &self,
        token: &str,
        address: Option<&str>,
    ) -> Result<OpenSession, AccountError> {
        self.limit_address(address).await?;
        let now = self.clock.now();
        let (new, kept) = self.new_token(now)?;
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
        let kept_for = events::kept_for(self.settings.access_token_ttl);
        while self.store.forget_events(now - kept_for).await? > 0 {}
        Ok(())
    }

    async fn limit_address(&self, address: Option<&str>) -> Result<(), Wait> {
        let Some(address) = address else {
            return Ok(());
        };
        let rule = Rule {
            name: "auth",
            max: self.settings.rates.auth_per_minute,
            window: MINUTE,
        };
        let key = format!("auth:{address}");
        self.limiter.take(&key, rule, self.clock.now()).await
    }

    fn new_token(&self, now: UnixMs) -> Result<(RefreshToken, NewToken), AccountError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let token = RefreshToken::from_random(random);
        let kept = NewToken {
            hash: token.hash(),
            created_at: now,
            expires_at: now + self.settings.refresh_token_ttl,
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
