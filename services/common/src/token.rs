//! Access tokens: JWTs (RFC 7519) of type `at+jwt`, signed with Ed25519. The auth service signs them;
//! whoever has the public keys checks them without asking it.
//!
//! The cryptography behind `jsonwebtoken` is given to it here, Ed25519 and nothing else: a token that
//! names another algorithm finds nothing that would check it.

use std::{collections::HashMap, fmt, sync::Once, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error as JwtError, ErrorKind},
};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

use crate::{
    clock::UnixMs,
    ids::{SessionId, UserId},
};

/// `iss` of every token.
pub const ISSUER: &str = "tutti";

/// `typ` of every token (RFC 9068, section 2.1): no other kind of JWT passes for an access token.
pub const TYPE: &str = "at+jwt";

/// What an access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// Who it speaks for.
    pub sub: UserId,
    /// The session it was issued in.
    pub sid: SessionId,
    /// When it was issued; in the token in whole seconds, cut off.
    pub iat: UnixMs,
    /// When it ends; in the token in whole seconds, rounded up.
    pub exp: UnixMs,
}

/// How many bytes of a token are read at all; ours have some 400.
const MAX_BYTES: usize = 4096;

/// What counts of a token's header. A member that is there twice is refused, as in [`Wire`].
#[derive(Deserialize)]
struct Head {
    typ: String,
    alg: String,
    kid: String,
    /// Whether it names extensions that must be understood (RFC 7515, 4.1.11), or none in a way that is not allowed.
    #[serde(default, deserialize_with = "whatever_it_is")]
    crit: bool,
}

fn whatever_it_is<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

impl Head {
    fn of(token: &str) -> Option<Self> {
        let (header, _) = token.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
    }
}

/// The claims as they stand in the token.
#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    sub: String,
    sid: String,
    iat: i64,
    exp: i64,
    /// From when on the token is good, in seconds; ours do not say.
    #[serde(default, deserialize_with = "a_number", skip_serializing)]
    nbf: Option<f64>,
}

/// Not `null`.
fn a_number<'de, D: Deserializer<'de>>(member: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(member).map(Some)
}

impl From<&AccessClaims> for Wire {
    fn from(claims: &AccessClaims) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            sub: claims.sub.to_string(),
            sid: claims.sid.to_string(),
            iat: claims.iat.0.div_euclid(1000),
            // Cut like `iat`, so that the two are as far apart as `expires_in` says.
            exp: claims.exp.0.div_euclid(1000),
            nbf: None,
        }
    }
}

impl TryFrom<Wire> for AccessClaims {
    type Error = TokenError;

    fn try_from(wire: Wire) -> Result<Self, TokenError> {
        Ok(Self {
            sub: wire.sub.parse().map_err(|_| TokenError::Malformed)?,
            sid: wire.sid.parse().map_err(|_| TokenError::Malformed)?,
            iat: UnixMs(wire.iat.saturating_mul(1000)),
            exp: UnixMs(wire.exp.saturating_mul(1000)),
        })
    }
}

/// Why a token is refused. To its bearer all are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not an access token of ours, whoever signed it.
    #[error("not an access token")]
    Malformed,
    /// Signed with a key that is not known here; it may be newer than the keys that are.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the signature is wrong")]
    Forged,
    /// It is from the future: its `iat` or its `nbf` is.
    #[error("the token is not good yet")]
    TooEarly,
    /// It was good until its `exp`.
    #[error("the token has expired")]
    Expired,
    /// It claims more time than a token is given.
    #[error("the token lives longer than tokens do")]
    TooLong,
}

/// A token could not be made: a fault of ours.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot sign a token")]
pub struct SignError(#[source] JwtError);

/// Signs access tokens with one key.
#[derive(Clone)]
pub struct TokenSigner {
    key_id: String,
    key: EncodingKey,
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl TokenSigner {
    /// Signs with `key`; `key_id` goes into each token's header as `kid`.
    #[must_use]
    pub fn new(key_id: String, key: &SigningKey) -> Self {
        install();
        Self {
            key_id,
            key: EncodingKey::from_ed_der(key.as_bytes()),
        }
    }

    /// A token that says `claims`.
    pub fn sign(&self, claims: &AccessClaims) -> Result<String, SignError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, &Wire::from(claims), &self.key).map_err(SignError)
    }
}

/// How far ahead of the verifier's clock the signer's may be, before its tokens count as ones from the future.
const CLOCKS_APART: Duration = Duration::from_mins(1);

/// The times in a token are in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Checks access tokens against the public keys they may be signed with.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    keys: HashMap<String, DecodingKey>,
    rules: Validation,
    /// How long a token may live.
    lifetime: Option<Duration>,
}

impl TokenVerifier {
    /// Trusts `keys`: each with its `kid` and its 32 bytes.
    #[must_use]
    pub fn new(keys: &[(String, [u8; 32])]) -> Self {
        install();
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        rules.set_issuer(&[ISSUER]);
        // Time is an argument of `verify`; the crate would ask the machine.
        rules.validate_exp = false;
        Self {
            keys: keys
                .iter()
                .map(|(key_id, key)| (key_id.clone(), DecodingKey::from_ed_der(key)))
                .collect(),
            rules,
            lifetime: None,
        }
    }

    /// Refuses tokens that are older than `lifetime` or claim to live longer, whatever their `exp`: where the lifetime was
    /// lowered, that holds for older tokens too, and nobody signs one for ever. `None` for any lifetime.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Option<Duration>) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// What `token` says, if it is one of ours and has not ended by `now`. There is no leeway for its end: the
    /// machines that sign and check are ours, and their clocks are kept. For its beginning there is a minute.
    pub fn verify(&self, token: &str, now: UnixMs) -> Result<AccessClaims, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Malformed);
        }
        let head = Head::of(token).ok_or(TokenError::Malformed)?;
        if head.typ != TYPE || head.alg != "EdDSA" || head.crit {
            return Err(TokenError::Malformed);
        }
        let key = self.keys.get(&head.kid).ok_or(TokenError::UnknownKey)?;
        let decoded = jsonwebtoken::decode::<Wire>(token, key, &self.rules).map_err(|error| {
            if matches!(error.kind(), ErrorKind::InvalidSignature) {
                TokenError::Forged
            } else {
                TokenError::Malformed
            }
        })?;
        let soon = now + CLOCKS_APART;
        let not_before = decoded.claims.nbf;
        let claims = AccessClaims::try_from(decoded.claims)?;
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 000 years")]
        if claims.iat > soon || not_before.is_some_and(|from| from * 1000.0 > soon.0 as f64) {
            return Err(TokenError::TooEarly);
        }
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        let lifetime = self.lifetime.map(|lifetime| lifetime + SECOND);
        lifetime.map_or(Ok(claims), |lifetime| capped(claims, lifetime, now))
    }
}

fn capped(
    claims: AccessClaims,
    lifetime: Duration,
    now: UnixMs,
) -> Result<AccessClaims, TokenError> {
    if claims.exp > claims.iat + lifetime {
        Err(TokenError::TooLong)
    } else if now > claims.iat + lifetime {
        Err(TokenError::Expired)
    } else {
        Ok(claims)
    }
}

/// Ed25519 for `jsonwebtoken`. Its keys are bytes to it: here the 32 of the seed and of the public key.
static ED25519: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Only JWKs need them, and `TokenVerifier` takes the bytes.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Gives `jsonwebtoken` its cryptography, once in a process.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if ED25519.install_default().is_err() {
            tracing::warn!("somebody else has given jsonwebtoken its cryptography");
        }
    });
}

struct Ed25519Signer(SigningKey);

impl signature::Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.try_sign(message)?.to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "as jsonwebtoken calls it"
)]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, JwtError> {
    require_ed25519(*algorithm, key.family())?;
    let seed = key
        .as_bytes()
        .try_into()
        .map_err(|_| ErrorKind::InvalidEddsaKey)?;
    Ok(Box::new(Ed25519Signer(SigningKey::from_bytes(seed))))
}

struct Ed25519Verifier(VerifyingKey);

impl signature::Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let signature = Signature::from_slice(signature)?;
        self.0.verify_strict(message, &signature)
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "as jsonwebtoken calls it"
)]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, JwtError> {
    require_ed25519(*algorithm, key.family())?;
    let bytes = key
        .try_get_as_bytes()?
        .try_into()
        .map_err(|_| ErrorKind::InvalidEddsaKey)?;
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| ErrorKind::InvalidEddsaKey)?;
    Ok(Box::new(Ed25519Verifier(key)))
}

fn require_ed25519(algorithm: Algorithm, family: AlgorithmFamily) -> Result<(), JwtError> {
    if algorithm == Algorithm::EdDSA && family == AlgorithmFamily::Ed {
        Ok(())
    } else {
        Err(ErrorKind::UnsupportedAlgorithm.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use ed25519_dalek::SigningKey;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};

    use super::{AccessClaims, TokenError, TokenSigner, TokenVerifier};
    use crate::{
        clock::UnixMs,
        ids::{SessionId, UserId},
    };

    const NOW: UnixMs = UnixMs(1_704_067_200_500);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn verifier() -> TokenVerifier {
        TokenVerifier::new(&[
            ("one".to_owned(), key(1).verifying_key().to_bytes()),
            ("two".to_owned(), key(2).verifying_key().to_bytes()),
        ])
    }

    fn claims() -> AccessClaims {
        AccessClaims {
            sub: UserId::new(),
            sid: SessionId::new(),
            iat: NOW,
            exp: NOW + Duration::from_mins(15),
        }
    }

    /// A token with any header and claims, rightly signed with key `one`.
    fn token(typ: Option<&str>, kid: Option<&str>, claims: &Value) -> String {
        super::install();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = typ.map(str::to_owned);
        header.kid = kid.map(str::to_owned);
        let key = EncodingKey::from_ed_der(&[1; 32]);
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }

    fn good() -> Value {
        json!({
            "iss": "tutti", "sub": UserId::new().to_string(), "sid": SessionId::new().to_string(),
            "iat": 1_704_067_200, "exp": 1_704_068_100,
        })
    }

    #[test]
    fn a_token_says_what_was_signed_whichever_key_signed_it() {
        for (name, seed) in [("one", 1), ("two", 2)] {
            let claims = claims();
            let token = TokenSigner::new(name.to_owned(), &key(seed))
                .sign(&claims)
                .unwrap();
            let read = verifier().verify(&token, NOW).unwrap();
            assert_eq!((read.sub, read.sid), (claims.sub, claims.sid));
            assert_eq!(read.iat, UnixMs(1_704_067_200_000));
            assert_eq!(read.exp, UnixMs(1_704_068_100_000));
        }
    }

    #[test]
    fn a_token_ends_at_its_exp_and_not_a_moment_later() {
        let verifier = verifier();
        let token = token(Some("at+jwt"), Some("one"), &good());
        let end = UnixMs(1_704_068_100_000);
        assert!(verifier.verify(&token, UnixMs(end.0 - 1)).is_ok());
        assert_eq!(verifier.verify(&token, end), Err(TokenError::Expired));
    }

    #[test]
    fn no_token_lives_longer_than_the_lifetime() {
        let minutes = |minutes: u64| Duration::from_mins(minutes);
        let signer = TokenSigner::new("one".to_owned(), &key(1));
        let verified = |lifetime, iat: UnixMs, lives: Duration| {
            let exp = iat + lives;
            let claims = AccessClaims {
                iat,
                exp,
                ..claims()
            };
            let verifier = verifier().with_lifetime(lifetime);
            verifier
                .verify(&signer.sign(&claims).unwrap(), NOW)
                .map(|_| ())
        };
        let long = minutes(60 * 24 * 365);
        assert_eq!(verified(None, NOW, long), Ok(()));
        let quarter = Some(minutes(15));
        assert_eq!(verified(quarter, NOW, minutes(15)), Ok(()));
        assert_eq!(verified(quarter, NOW - minutes(14), minutes(15)), Ok(()));
        assert_eq!(
            verified(quarter, NOW, minutes(16)),
            Err(TokenError::TooLong)
        );
        assert_eq!(
            verified(quarter, NOW - minutes(16), long),
            Err(TokenError::TooLong)
        );
        // The signer's clock may be ahead, and not by a year.
        assert_eq!(verified(quarter, NOW + minutes(1), minutes(15)), Ok(()));
        assert_eq!(
            verified(quarter, NOW + long, minutes(15)),
            Err(TokenError::TooEarly)
        );
        // Lifetimes need not be whole seconds.
        let odd = Duration::from_millis(1_500);
        assert_eq!(verified(Some(odd), NOW, odd), Ok(()));
    }

    #[test]
    fn a_token_from_the_future_is_refused_beyond_a_minute() {
        let verified = |member: &str, value: Value| {
            let mut claims = good();
            claims[member] = value;
            let token = token(Some("at+jwt"), Some("one"), &claims);
            verifier().verify(&token, NOW).map(|_| ())
        };
        let now = 1_704_067_200;
        for member in ["iat", "nbf"] {
            assert_eq!(verified(member, json!(now - 60)), Ok(()));
            assert_eq!(verified(member, json!(now + 60)), Ok(()));
            let early = verified(member, json!(now + 61));
            assert_eq!(early, Err(TokenError::TooEarly), "{member}");
        }
        assert_eq!(verified("nbf", json!(1e300)), Err(TokenError::TooEarly));
        assert_eq!(verified("nbf", json!(1_704_067_200.9)), Ok(()));
        for nonsense in [Value::Null, json!("now"), json!([0]), json!(true)] {
            assert_eq!(verified("nbf", nonsense), Err(TokenError::Malformed));
        }
    }

    /// A token with this text for a header and this one for its claims, rightly signed with key `one`.
    fn spelled(header: &str, claims: &str) -> String {
        use ed25519_dalek::Signer as _;
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
        let signature = key(1).sign(signed.as_bytes());
        format!("{signed}.{}", part(&signature.to_bytes()))
    }

    #[test]
    fn what_must_be_understood_is_not_and_nothing_may_be_said_twice() {
        let good = good().to_string();
        let verified = |header: &str, claims: &str| {
            let token = spelled(header, claims);
            verifier().verify(&token, NOW).map(|_| ())
        };
        let plain = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"one"}"#;
        assert_eq!(verified(plain, &good), Ok(()));
        let with = |member: &str| plain.replace('}', &format!(",{member}}}"));
        // RFC 7515, 4: others that are not understood are ignored.
        assert_eq!(verified(&with(r#""x":[1]"#), &good), Ok(()));
        for member in [
            r#""crit":["exp"]"#,
            r#""crit":["b64"],"b64":true"#,
            r#""crit":[]"#,
            r#""crit":null"#,
            r#""crit":7"#,
            r#""kid":"one""#,
            r#""alg":"none""#,
            r#""typ":"at+jwt""#,
        ] {
            let refused = verified(&with(member), &good);
            assert_eq!(refused, Err(TokenError::Malformed), "{member}");
        }
        for member in [
            r#""exp":4000000000"#,
            r#""sub":"user_""#,
            r#""nbf":0,"nbf":0"#,
        ] {
            let claims = good.replace('}', &format!(",{member}}}"));
            let refused = verified(plain, &claims);
            assert_eq!(refused, Err(TokenError::Malformed), "{member}");
        }
    }

    #[test]
    fn a_token_that_is_far_too_long_is_not_read() {
        let header = |filling: usize| {
            let filling = "x".repeat(filling);
            format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"one","x":"{filling}"}}"#)
        };
        let verified = |filling| {
            let token = spelled(&header(filling), &good().to_string());
            verifier().verify(&token, NOW).map(|_| ())
        };
        assert_eq!(verified(1_000), Ok(()));
        assert_eq!(verified(4_000), Err(TokenError::Malformed));
    }

    #[test]
    fn another_kind_of_token_or_key_is_refused() {
        let verifier = verifier();
        let refused = |typ, kid, claims: &Value| {
            verifier
                .verify(&token(typ, kid, claims), NOW)
                .expect_err("refused")
        };
        let at = Some("at+jwt");
        assert_eq!(
            refused(Some("JWT"), Some("one"), &good()),
            TokenError::Malformed
        );
        assert_eq!(refused(None, Some("one"), &good()), TokenError::Malformed);
        assert_eq!(refused(at, None, &good()), TokenError::Malformed);
        assert_eq!(refused(at, Some("three"), &good()), TokenError::UnknownKey);
        assert_eq!(refused(at, Some("two"), &good()), TokenError::Forged);
        for (member, value) in [
            ("iss", json!("somebody")),
            ("iss", Value::Null),
            ("sub", json!(SessionId::new().to_string())),
            ("sub", json!(7)),
            ("sid", json!("sess_")),
            ("exp", Value::Null),
            ("exp", json!("tomorrow")),
            ("aud", json!("elsewhere")),
        ] {
            let mut claims = good();
            claims[member] = value;
            assert_eq!(
                refused(at, Some("one"), &claims),
                TokenError::Malformed,
                "{member}"
            );
        }
    }

    #[test]
    fn nonsense_and_changed_tokens_are_refused() {
        let verifier = verifier();
        let good = token(Some("at+jwt"), Some("one"), &good());
        assert!(verifier.verify(&good, NOW).is_ok());
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            "é.é.é",
            &good[1..],
            &good[..good.len() - 1],
        ] {
            assert!(verifier.verify(text, NOW).is_err(), "{text}");
        }
        // `alg` `none`, with and without the signature.
        let mut parts = good.split('.');
        let (payload, signature) = (parts.nth(1).unwrap(), parts.next().unwrap());
        // {"typ":"at+jwt","alg":"none","kid":"one"}
        let header = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIiwia2lkIjoib25lIn0";
        for text in [
            format!("{header}.{payload}."),
            format!("{header}.{payload}.{signature}"),
        ] {
            assert_eq!(verifier.verify(&text, NOW), Err(TokenError::Malformed));
        }
        // {"typ":"at+jwt","alg":"HS256","kid":"one"}: the public key is no secret.
        let header = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9";
        let text = format!("{header}.{payload}.{signature}");
        assert_eq!(verifier.verify(&text, NOW), Err(TokenError::Malformed));
        // One changed claim.
        let other = token(
            Some("at+jwt"),
            Some("one"),
            &json!({"iss": "tutti", "sub": "user_00000000000000000000000000"}),
        );
        let changed = other.split('.').nth(1).unwrap();
        let text = good.replacen(payload, changed, 1);
        assert_eq!(verifier.verify(&text, NOW), Err(TokenError::Forged));
    }
}
