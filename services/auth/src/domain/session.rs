//! Sessions: families of refresh tokens, each of which works once.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tutti_common::{
    clock::UnixMs,
    config::Secret,
    ids::{SessionId, UserId},
};

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
#[derive(Clone, Copy, Debug)]
pub struct NewToken {
    /// How it is known again.
    pub hash: TokenHash,
    /// When it is given out.
    pub created_at: UnixMs,
    /// From when on it is dead.
    pub expires_at: UnixMs,
}

/// A session and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The `sid` of its access tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
}

/// What is known of a refresh token that somebody presents.
#[derive(Clone, Copy, Debug)]
pub struct KnownToken {
    /// From when on it is dead.
    pub expires_at: UnixMs,
    /// When it was traded for its successor.
    pub used_at: Option<UnixMs>,
}

/// What becomes of a refresh token that somebody wants to trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trade {
    /// It is traded for a new one.
    Renew,
    /// It was traded before: somebody has stolen it, and which of the two is the thief nobody can
    /// tell. Its session ends.
    EndSession,
    /// It is too old.
    Refuse,
}

impl KnownToken {
    /// The rule of trading a token at `now`.
    #[must_use]
    pub fn trade(&self, now: UnixMs) -> Trade {
        if self.used_at.is_some() {
            Trade::EndSession
        } else if now >= self.expires_at {
            Trade::Refuse
        } else {
            Trade::Renew
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
    fn a_token_works_once_and_until_its_end() {
        let fresh = KnownToken {
            expires_at: UnixMs(1000),
            used_at: None,
        };
        assert_eq!(fresh.trade(UnixMs(999)), Trade::Renew);
        assert_eq!(fresh.trade(UnixMs(1000)), Trade::Refuse);
        let used = KnownToken {
            used_at: Some(UnixMs(5)),
            ..fresh
        };
        assert_eq!(used.trade(UnixMs(6)), Trade::EndSession);
        assert_eq!(used.trade(UnixMs(2000)), Trade::EndSession);
    }
}
