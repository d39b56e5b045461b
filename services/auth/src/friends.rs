//! What can be done with friends and friend requests.

use std::{sync::Arc, time::Duration};

use tutti_common::{
    clock::{SharedClock, UnixMs},
    ids::{FriendRequestId, UserId},
    limits::{Limiter, Rule, Wait},
    status::Violation,
};

use crate::{
    AuthSettings,
    domain::{
        account::username_key,
        friends::{
            AskRefusal, Direction, Found, Friend, FriendRequest, RequestPage, RequestRefusal,
            RequestStatus, Search,
        },
        network::Network,
    },
    events::Events,
    store::{AskOutcome, AuthStore, NewRequest, StoreError},
};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FriendError {
    #[error("the request breaks rules")]
    Invalid(Vec<Violation>),
    #[error(transparent)]
    Limited(#[from] Wait),
    #[error("no such user")]
    NoSuchUser,
    #[error("no such friend request")]
    NoSuchRequest,
    #[error("you are not friends")]
    NotFriends,
    #[error("you are friends already")]
    AlreadyFriends,
    #[error("you have asked already")]
    AlreadyPending,
    #[error("they said no; you may ask again at {until}")]
    TooSoon { until: UnixMs },
    #[error("the request has been answered")]
    AlreadyAnswered,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AskRefusal> for FriendError {
    fn from(refusal: AskRefusal) -> Self {
        match refusal {
            AskRefusal::AlreadyFriends => Self::AlreadyFriends,
            AskRefusal::AlreadyPending => Self::AlreadyPending,
            AskRefusal::TooSoon { until } => Self::TooSoon { until },
        }
    }
}

impl From<RequestRefusal> for FriendError {
    fn from(refusal: RequestRefusal) -> Self {
        match refusal {
            RequestRefusal::NotFound => Self::NoSuchRequest,
            RequestRefusal::AlreadyAnswered => Self::AlreadyAnswered,
        }
    }
}

/// Whom somebody wants to ask, as they say it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Username(&'a str),
    Id(&'a str),
}

/// What came of asking.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: FriendRequest,
    /// They had asked first.
    pub(crate) accepted_theirs: bool,
}

/// The service, without a wire.
#[derive(Clone)]
pub(crate) struct Friends {
    pub(crate) store: Arc<dyn AuthStore>,
    pub(crate) limiter: Arc<dyn Limiter>,
    pub(crate) clock: SharedClock,
    pub(crate) settings: AuthSettings,
    pub(crate) events: Events,
}

impl Friends {
    /// Users by their username.
    pub(crate) async fn search(
        &self,
        user: UserId,
        query: &str,
        limit: Option<i32>,
    ) -> Result<Vec<Found>, FriendError> {
        let search = Search::check(query, limit).map_err(FriendError::Invalid)?;
        Ok(self.store.search(user, &search).await?)
    }

    /// Asks somebody. What is refused counts as well, unless it was not put right.
    pub(crate) async fn ask(
        &self,
        user: UserId,
        target: Target<'_>,
        network: Option<&Network>,
    ) -> Result<Asked, FriendError> {
        let receiver = self.find(target).await?;
        if receiver == Some(user) {
            return Err(invalid(target, "somebody other than yourself"));
        }
        let now = self.clock.now();
        let rule = Rule {
            name: "friend_requests",
            max: self.settings.rates.friend_requests_per_hour,
            window: Duration::from_hours(1),
        };
        self.limiter
            .take(&format!("friends:{user}"), rule, now)
            .await?;
        self.limit_strangers(user, receiver, network, now).await?;
        let request = NewRequest {
            id: FriendRequestId::new(),
            sender: user,
            receiver: receiver.ok_or(FriendError::NoSuchUser)?,
            now,
        };
        let cooldown = self.settings.friend_request_cooldown;
        match self.store.ask(request, cooldown).await? {
            AskOutcome::Sent(request) => Ok(Asked {
                request,
                accepted_theirs: false,
            }),
            AskOutcome::Accepted(request) => Ok(Asked {
                request,
                accepted_theirs: true,
            }),
            AskOutcome::Refused(refusal) => Err(refusal.into()),
            AskOutcome::NoSuchUser => Err(FriendError::NoSuchUser),
        }
    }

    /// Counts what comes from one network, however many accounts it has. Those who have to do with each other pass, since people
    /// of one household or school have one address.
    async fn limit_strangers(
        &self,
        user: UserId,
        receiver: Option<UserId>,
        network: Option<&Network>,
        now: UnixMs,
    ) -> Result<(), FriendError> {
        let Some(network) = network else {
            return Ok(());
        };
        let rule = Rule {
            name: "stranger_requests",
            max: self.settings.rates.stranger_requests_per_hour,
            window: Duration::from_hours(1),
        };
        let Err(wait) = self
            .limiter
            .take(&format!("strangers:{}", network.as_str()), rule, now)
            .await
        else {
            return Ok(());
        };
        match receiver {
            Some(receiver) if self.store.are_acquainted(user, receiver).await? => Ok(()),
            _ => Err(wait.into()),
        }
    }

    async fn find(&self, target: Target<'_>) -> Result<Option<UserId>, FriendError> {
        match target {
            Target::Username("") | Target::Id("") => Err(invalid(target, "must not be empty")),
            Target::Username(username) => match username_key(username) {
                Some(key) => Ok(self.store.user_by_key(&key).await?),
                None => Ok(None),
            },
            // Whether somebody has it, the request itself will tell.
            Target::Id(id) => Ok(id.parse().ok()),
        }
    }

    /// Answers a request.
    pub(crate) async fn answer(
        &self,
        user: UserId,
        request: FriendRequestId,
        answer: RequestStatus,
    ) -> Result<FriendRequest, FriendError> {
        let now = self.clock.now();
        Ok(self.store.answer(request, user, answer, now).await??)
    }

    /// Takes a request back.
    pub(crate) async fn withdraw(
        &self,
        user: UserId,
        request: FriendRequestId,
    ) -> Result<(), FriendError> {
        Ok(self.store.withdraw(request, user).await??)
    }

    /// The pending requests of one direction, newest first, and where the next page begins.
    pub(crate) async fn requests(
        &self,
        user: UserId,
        direction: Direction,
        page: RequestPage,
    ) -> Result<(Vec<FriendRequest>, Option<String>), FriendError> {
        let mut requests = self.store.pending_requests(user, direction, page).await?;
        let are_more = requests.len() > usize::from(page.limit);
        requests.truncate(page.limit.into());
        let last = requests.last().filter(|_| are_more);
        let next_cursor = last.map(FriendRequest::cursor);
        Ok((requests, next_cursor))
    }

    /// A user's friends, by username.
    pub(crate) async fn list(&self, user: UserId) -> Result<Vec<Friend>, FriendError> {
        Ok(self.store.friends(user).await?)
    }

    /// Ends a friendship.
    pub(crate) async fn remove(&self, user: UserId, friend: UserId) -> Result<(), FriendError> {
        let now = self.clock.now();
        if !self.store.unfriend(user, friend, now).await? {
            return Err(FriendError::NotFriends);
        }
        self.events.happened();
        Ok(())
    }

    /// Which of `others` are the user's friends.
    pub(crate) async fn among(
        &self,
        user: UserId,
        others: &[UserId],
    ) -> Result<Vec<UserId>, FriendError> {
        Ok(self.store.friends_among(user, others).await?)
    }
}

fn invalid(target: Target<'_>, message: &str) -> FriendError {
    let field = match target {
        Target::Username(_) => "username",
        Target::Id(_) => "receiver_id",
    };
    FriendError::Invalid(vec![Violation::new(field, message)])
}
