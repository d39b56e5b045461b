//! Friends and friend requests. Between two users there is one friendship, or one pending request, or
//! neither.

use std::time::Duration;

use tutti_common::{
    clock::UnixMs,
    ids::{FriendRequestId, UserId},
    status::Violation,
};

use super::account::{User, is_username_char};

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestStatus {
    /// Not answered yet.
    Pending,
    /// The two became friends.
    Accepted,
    /// They did not.
    Rejected,
}

impl RequestStatus {
    /// As the database spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    /// Reads what [`as_str`](Self::as_str) spells.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Accepted, Self::Rejected]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// A friend request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FriendRequest {
    /// Its id.
    pub id: FriendRequestId,
    /// Who asked.
    pub sender: User,
    /// Who was asked.
    pub receiver: User,
    /// Where it stands.
    pub status: RequestStatus,
    /// When it was sent.
    pub created_at: UnixMs,
    /// When it was answered.
    pub responded_at: Option<UnixMs>,
}

/// Which of somebody's pending requests to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPage {
    /// The last request of the page before: when it was sent, and its id.
    pub after: Option<(UnixMs, FriendRequestId)>,
    /// At most so many.
    pub limit: u16,
}

impl RequestPage {
    /// Most requests a page may be asked to have.
    pub const MAX_LIMIT: u16 = 100;
    /// As many as are listed where nobody says: a client that knows of no pages gets as many as ever.
    pub const DEFAULT_LIMIT: u16 = 1_000;

    /// Checks what is to be listed. An empty cursor means the first page.
    ///
    /// # Errors
    /// All rules it breaks.
    pub fn parse(cursor: &str, limit: Option<i32>) -> Result<Self, Vec<Violation>> {
        let mut broken = Vec::new();
        let after = (!cursor.is_empty()).then(|| read_cursor(cursor));
        if after == Some(None) {
            broken.push(Violation::new("cursor", "must be one that an answer gave"));
        }
        let limit = limit.map_or(Some(Self::DEFAULT_LIMIT), |limit| {
            let limit = u16::try_from(limit).ok();
            limit.filter(|limit| (1..=Self::MAX_LIMIT).contains(limit))
        });
        if limit.is_none() {
            broken.push(Violation::new("limit", "1 to 100"));
        }
        match limit {
            Some(limit) if broken.is_empty() => Ok(Self {
                after: after.flatten(),
                limit,
            }),
            _ => Err(broken),
        }
    }
}

impl FriendRequest {
    /// What the page behind this request is asked for with.
    #[must_use]
    pub fn cursor(&self) -> String {
        format!("{}.{}", self.created_at.0, self.id)
    }
}

fn read_cursor(cursor: &str) -> Option<(UnixMs, FriendRequestId)> {
    let (created_at, id) = cursor.split_once('.')?;
    let created_at = created_at
        .parse()
        .ok()
        .filter(|ms| (0..END_OF_TIME.0).contains(ms))?;
    Some((UnixMs(created_at), id.parse().ok()?))
}

/// The end of the year 9999: no request is sent later.
pub const END_OF_TIME: UnixMs = UnixMs(253_402_300_799_000);

/// A friend of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Friend {
    /// Who it is.
    pub user: User,
    /// Since when.
    pub since: UnixMs,
}

/// What a found user is to the one who searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relationship {
    /// Nothing yet.
    None,
    /// A friend.
    Friend,
    /// The one who searched has asked them.
    RequestSent,
    /// They have asked the one who searched.
    RequestReceived,
}

impl Relationship {
    /// Reads what the search statements spell.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "friend" => Some(Self::Friend),
            "request_sent" => Some(Self::RequestSent),
            "request_received" => Some(Self::RequestReceived),
            _ => None,
        }
    }
}

/// A user that was searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who it is.
    pub user: User,
    /// What they are to the one who searched.
    pub relationship: Relationship,
}

/// Which requests somebody wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those they sent.
    Sent,
    /// Those they received.
    Received,
}

/// What there is between two users, as far as asking goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Between {
    /// Whether they are friends.
    pub friends: bool,
    /// The request that waits for an answer, and who sent it.
    pub pending: Option<(FriendRequestId, UserId)>,
    /// The request that was answered last.
    pub last_answer: Option<Answered>,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Who had asked.
    pub sender: UserId,
    /// Whether it was a rejection.
    pub rejected: bool,
    /// When it was answered.
    pub at: UnixMs,
}

/// What becomes of asking somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// A new request is sent.
    Send,
    /// They have asked first: that request is accepted.
    Accept(FriendRequestId),
}

/// Why somebody cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskRefusal {
    /// They are friends.
    AlreadyFriends,
    /// They have been asked and have not answered.
    AlreadyPending,
    /// They have said no a short while ago.
    TooSoon {
        /// When they may be asked again.
        until: UnixMs,
    },
}

impl Between {
    /// The rule of asking: `by` asks the other one at `now`.
    pub fn ask(&self, by: UserId, cooldown: Duration, now: UnixMs) -> Result<Asking, AskRefusal> {
        if self.friends {
            return Err(AskRefusal::AlreadyFriends);
        }
        match self.pending {
            Some((_, sender)) if sender == by => return Err(AskRefusal::AlreadyPending),
            Some((id, _)) => return Ok(Asking::Accept(id)),
            None => {}
        }
        // Only the last answer counts: who was asked since then, or befriended, may be asked again.
        match self.last_answer {
            Some(answered) if answered.rejected && answered.sender == by => {
                let until = answered.at + cooldown;
                if until > now {
                    Err(AskRefusal::TooSoon { until })
                } else {
                    Ok(Asking::Send)
                }
            }
            Some(_) | None => Ok(Asking::Send),
        }
    }
}

/// Why a request cannot be answered or withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRefusal {
    /// It is not there, or not for them to know.
    NotFound,
    /// It has been answered.
    AlreadyAnswered,
}

impl FriendRequest {
    /// The rule of answering: only its receiver, and once.
    pub fn may_answer(&self, by: UserId) -> Result<(), RequestRefusal> {
        self.is_pending_for(by == self.receiver.id)
    }

    /// The rule of withdrawing: only its sender, and while nobody has answered.
    pub fn may_withdraw(&self, by: UserId) -> Result<(), RequestRefusal> {
        self.is_pending_for(by == self.sender.id)
    }

    fn is_pending_for(&self, theirs: bool) -> Result<(), RequestRefusal> {
        if !theirs {
            return Err(RequestRefusal::NotFound);
        }
        match self.status {
            RequestStatus::Pending => Ok(()),
            RequestStatus::Accepted | RequestStatus::Rejected => {
                Err(RequestRefusal::AlreadyAnswered)
            }
        }
    }
}

/// What to search for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// In lower case; none where no username contains it.
    key: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl Search {
    /// Most characters to search for.
    pub const MAX_QUERY: usize = 64;
    /// Most users to find.
    pub const MAX_LIMIT: u32 = 50;
    /// As many as are found where nobody says.
    pub const DEFAULT_LIMIT: i32 = 20;

    /// Checks `query` and `limit`; the error holds all that is wrong.
    pub fn check(query: &str, limit: Option<i32>) -> Result<Self, Vec<Violation>> {
        let mut wrong = Vec::new();
        if !(1..=Self::MAX_QUERY).contains(&query.chars().count()) {
            wrong.push(Violation::new("q", "1 to 64 characters"));
        }
        let limit = u32::try_from(limit.unwrap_or(Self::DEFAULT_LIMIT))
            .ok()
            .filter(|limit| (1..=Self::MAX_LIMIT).contains(limit));
        match limit {
            Some(limit) if wrong.is_empty() => Ok(Self {
                key: query
                    .chars()
                    .all(is_username_char)
                    .then(|| query.to_ascii_lowercase()),
                limit,
            }),
            Some(_) => Err(wrong),
            None => {
                wrong.push(Violation::new("limit", "1 to 50"));
                Err(wrong)
            }
        }
    }

    /// Between what and what the keys of usernames lie that begin with it: from the first to before
    /// the second. None where no username can.
    #[must_use]
    pub fn prefix_range(&self) -> Option<(&str, String)> {
        // DEL comes after every character of a username.
        self.key.as_deref().map(|key| (key, format!("{key}\u{7f}")))
    }

    /// A LIKE pattern, with `\` to escape, of the keys of usernames that contain it.
    #[must_use]
    pub fn pattern(&self) -> Option<String> {
        // Of LIKE's special characters only this one can stand in a username.
        self.key
            .as_deref()
            .map(|key| format!("%{}%", key.replace('_', r"\_")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tutti_common::{
        clock::UnixMs,
        ids::{FriendRequestId, UserId},
    };

    use super::{
        Answered, AskRefusal, Asking, Between, FriendRequest, RequestPage, RequestRefusal,
        RequestStatus, Search,
    };
    use crate::domain::account::User;

    const DAY: Duration = Duration::from_hours(24);
    const NOW: UnixMs = UnixMs(1_704_067_200_000);

    #[test]
    fn strangers_may_ask_and_friends_need_not() {
        let me = UserId::new();
        let between = Between::default();
        assert_eq!(between.ask(me, DAY, NOW), Ok(Asking::Send));
        let between = Between {
            friends: true,
            ..between
        };
        assert_eq!(between.ask(me, DAY, NOW), Err(AskRefusal::AlreadyFriends));
    }

    #[test]
    fn of_two_crossing_requests_the_second_accepts_the_first() {
        let (me, them) = (UserId::new(), UserId::new());
        let request = FriendRequestId::new();
        let between = Between {
            pending: Some((request, them)),
            ..Between::default()
        };
        assert_eq!(between.ask(me, DAY, NOW), Ok(Asking::Accept(request)));
        assert_eq!(between.ask(them, DAY, NOW), Err(AskRefusal::AlreadyPending));
    }

    #[test]
    fn after_a_rejection_the_sender_waits_and_the_receiver_does_not() {
        let (me, them) = (UserId::new(), UserId::new());
        let between = Between {
            last_answer: Some(Answered {
                sender: me,
                rejected: true,
                at: NOW,
            }),
            ..Between::default()
        };
        let until = NOW + DAY;
        let early = UnixMs(until.0 - 1);
        assert_eq!(
            between.ask(me, DAY, early),
            Err(AskRefusal::TooSoon { until })
        );
        assert_eq!(between.ask(me, DAY, until), Ok(Asking::Send));
        assert_eq!(between.ask(them, DAY, early), Ok(Asking::Send));
        assert_eq!(between.ask(me, Duration::ZERO, NOW), Ok(Asking::Send));
    }

    #[test]
    fn an_accepted_request_makes_nobody_wait() {
        let me = UserId::new();
        let between = Between {
            last_answer: Some(Answered {
                sender: me,
                rejected: false,
                at: NOW,
            }),
            ..Between::default()
        };
        assert_eq!(between.ask(me, DAY, NOW), Ok(Asking::Send));
    }

    fn pending() -> FriendRequest {
        let user = || User {
            id: UserId::new(),
            username: "ann".to_owned(),
            name: None,
        };
        FriendRequest {
            id: FriendRequestId::new(),
            sender: user(),
            receiver: user(),
            status: RequestStatus::Pending,
            created_at: NOW,
            responded_at: None,
        }
    }

    #[test]
    fn only_the_receiver_answers_and_only_the_sender_withdraws() {
        let mut request = pending();
        let (sender, receiver) = (request.sender.id, request.receiver.id);
        assert_eq!(request.may_answer(receiver), Ok(()));
        assert_eq!(request.may_answer(sender), Err(RequestRefusal::NotFound));
        assert_eq!(request.may_withdraw(sender), Ok(()));
        assert_eq!(
            request.may_withdraw(receiver),
            Err(RequestRefusal::NotFound)
        );
        request.status = RequestStatus::Rejected;
        assert_eq!(
            request.may_answer(receiver),
            Err(RequestRefusal::AlreadyAnswered)
        );
        assert_eq!(request.may_answer(sender), Err(RequestRefusal::NotFound));
        assert_eq!(
            request.may_withdraw(sender),
            Err(RequestRefusal::AlreadyAnswered)
        );
    }

    #[test]
    fn a_page_begins_behind_a_request_and_has_1_to_100() {
        let first = RequestPage {
            after: None,
            limit: 1_000,
        };
        assert_eq!(RequestPage::parse("", None), Ok(first));
        let request = pending();
        let next = RequestPage {
            after: Some((NOW, request.id)),
            limit: 100,
        };
        assert_eq!(RequestPage::parse(&request.cursor(), Some(100)), Ok(next));
        let late = format!("{}.{}", i64::MAX, request.id);
        for (cursor, limit, fields) in [
            ("x", None, vec!["cursor"]),
            ("1.freq_x", Some(1), vec!["cursor"]),
            (late.as_str(), Some(1), vec!["cursor"]),
            ("", Some(0), vec!["limit"]),
            ("-", Some(101), vec!["cursor", "limit"]),
        ] {
            let broken = RequestPage::parse(cursor, limit).unwrap_err();
            let named = broken.iter().map(|violation| violation.field.as_str());
            assert_eq!(named.collect::<Vec<_>>(), fields);
        }
    }

    #[test]
    fn a_search_has_1_to_64_characters_and_finds_1_to_50() {
        let long = "é".repeat(64);
        for (query, limit) in [("a", None), (long.as_str(), Some(1)), ("a", Some(50))] {
            assert!(Search::check(query, limit).is_ok(), "{query} {limit:?}");
        }
        let too_long = "é".repeat(65);
        for (query, limit, fields) in [
            ("", None, vec!["q"]),
            (too_long.as_str(), None, vec!["q"]),
            ("a", Some(0), vec!["limit"]),
            ("a", Some(51), vec!["limit"]),
            ("", Some(-1), vec!["q", "limit"]),
        ] {
            let wrong = Search::check(query, limit).unwrap_err();
            let named = wrong.iter().map(|violation| violation.field.as_str());
            assert_eq!(named.collect::<Vec<_>>(), fields);
        }
    }

    #[test]
    fn wildcards_mean_themselves_and_what_no_username_holds_finds_nobody() {
        let search = Search::check("A_b", None).unwrap();
        assert_eq!(search.pattern().unwrap(), r"%a\_b%");
        assert_eq!(
            search.prefix_range().unwrap(),
            ("a_b", "a_b\u{7f}".to_owned())
        );
        for query in ["%", "a b", "\\", "é", "a\0", "a'b"] {
            let search = Search::check(query, None).unwrap();
            assert!(search.prefix_range().is_none() && search.pattern().is_none());
        }
    }
}
