//! Sessions: families of refresh tokens, each of which works once.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tutti_common::{
    clock::UnixMs,
    config::Secret,
    ids::{SessionId, UserId},
};

use super::network::Network;

/// How a refresh token is known to the database: its SHA-256. The token is as good as random, so that
/// nothing slower is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Of a token as a client presents it, whether it is one or not.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A new refresh token, known to nobody yet.
#[derive(Clone, Debug)]
pub struct RefreshToken(Secret);

impl RefreshToken {
    /// The token that 32 bytes from the system's random source spell.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Secret::new(&URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// For the client.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// For the database.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.expose())
    }
}

/// What is kept of a refresh token that is given out.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// How it is known again.
    pub hash: TokenHash,
    /// When it is given out.
    pub created_at: UnixMs,
    /// From when on it is dead.
    pub expires_at: UnixMs,
    /// Where its user is, where that is known.
    pub network: Option<Network>,
}

/// A session and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The `sid` of its access tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
}

/// For how long a token that was traded may be traded again, and for how long whoever has a successor that was replaced is
/// only told to look for the newer one. Longer than a client waits for an answer (10 s) and asks again.
pub const AGAIN: Duration = Duration::from_secs(30);

/// What is known of a refresh token that somebody presents.
#[derive(Clone, Copy, Debug)]
pub struct KnownToken {
    /// From when on it is dead.
    pub expires_at: UnixMs,
    /// When it was first traded for a successor, or replaced.
    pub used_at: Option<UnixMs>,
    /// When another successor of its predecessor took its place.
    pub replaced_at: Option<UnixMs>,
    /// Its last successor, if it has one that nobody has used.
    pub unused_successor: Option<TokenHash>,
}

/// What becomes of a refresh token that somebody wants to trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trade {
    /// It is traded for a new one.
    Renew,
    /// It was traded a moment ago, and its successor has not been used: the answer was lost, or another tab asked at the same
    /// time. It is traded for another one, which replaces that successor.
    RenewAgain(TokenHash),
    /// It was used before: somebody has stolen it, and which of the two is the thief nobody can
    /// tell. Its session ends.
    EndSession,
    /// It is too old, or it was replaced a moment ago: whoever has it may find the newer one where its clients keep it.
    Refuse,
}

impl KnownToken {
    /// The rule of trading a token at `now`.
    #[must_use]
    pub fn trade(&self, now: UnixMs) -> Trade {
        let is_recent = |then: UnixMs| now < then + AGAIN;
        match (self.replaced_at, self.used_at, self.unused_successor) {
            (Some(replaced_at), _, _) if is_recent(replaced_at) => Trade::Refuse,
            (None, Some(used_at), Some(successor)) if is_recent(used_at) => {
                Trade::RenewAgain(successor)
            }
            (Some(_), _, _) | (None, Some(_), _) => Trade::EndSession,
            (None, None, _) if now >= self.expires_at => Trade::Refuse,
            (None, None, _) => Trade::Renew,
        }
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::clock::UnixMs;

    use super::{KnownToken, RefreshToken, TokenHash, Trade};

    #[test]
    fn a_token_is_43_characters_of_base64url_and_never_printed() {
        let token = RefreshToken::from_random([0xfb; 32]);
        assert_eq!(token.expose().len(), 43);
        assert!(!token.expose().contains(['+', '/', '=']));
        assert_eq!(token.hash(), TokenHash::of(token.expose()));
        assert!(!format!("{token:?}{:?}", token.hash()).contains(token.expose()));
    }

    #[test]
    fn a_token_works_once_and_until_its_end_and_again_while_its_answer_may_be_lost() {
        const USED: UnixMs = UnixMs(10_000);
        const MOMENT: UnixMs = UnixMs(39_999);
        const LATER: UnixMs = UnixMs(40_000);
        let successor = TokenHash::of("successor");
        let fresh = KnownToken {
            expires_at: UnixMs(90_000),
            used_at: None,
            replaced_at: None,
            unused_successor: None,
        };
        let traded = KnownToken {
            used_at: Some(USED),
            unused_successor: Some(successor),
            ..fresh
        };
        let gone_on = KnownToken {
            unused_successor: None,
            ..traded
        };
        let replaced = KnownToken {
            replaced_at: Some(USED),
            ..gone_on
        };
        for (what, known, now, expected) in [
            ("fresh", fresh, UnixMs(89_999), Trade::Renew),
            ("too old", fresh, UnixMs(90_000), Trade::Refuse),
            ("just traded", traded, USED, Trade::RenewAgain(successor)),
            (
                "still in time",
                traded,
                MOMENT,
                Trade::RenewAgain(successor),
            ),
            ("too late", traded, LATER, Trade::EndSession),
            ("successor used", gone_on, USED, Trade::EndSession),
            ("just replaced", replaced, USED, Trade::Refuse),
            ("replaced, in time", replaced, MOMENT, Trade::Refuse),
            ("replaced long ago", replaced, LATER, Trade::EndSession),
        ] {
            assert_eq!(known.trade(now), expected, "{what}");
        }
    }
}
