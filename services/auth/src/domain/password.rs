//! What a password may be: long enough, and not among the first that somebody would try. No rules of
//! composition (NIST SP 800-63B, section 5.1.1.2).

use std::{collections::HashSet, sync::LazyLock};

use tutti_common::config::Secret;

/// Those of the right length among the 30 000 passwords found most often in leaks, in lower case. Where
/// the list is from stands in `common_passwords.LICENSE`.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// A password that may be taken: 10 to 256 characters, not a common one.
#[derive(Clone, Debug)]
pub struct NewPassword(Secret);

impl NewPassword {
    /// Fewest characters.
    pub const MIN: usize = 10;
    /// Most characters.
    pub const MAX: usize = 256;

    /// Checks `text` for a user whose other data is `known`, compared without regard to case; the
    /// error says what a password should be.
    pub fn parse(text: &Secret, known: &[&str]) -> Result<Self, &'static str> {
        if !(Self::MIN..=Self::MAX).contains(&text.expose().chars().count()) {
            return Err("10 to 256 characters");
        }
        let key = text.expose().to_lowercase();
        if COMMON.contains(key.as_str()) {
            return Err("too common; others would try it first");
        }
        if known.iter().any(|known| known.to_lowercase() == key) {
            return Err("must not be the username or the e-mail address");
        }
        Ok(Self(text.clone()))
    }

    /// The password, to be hashed.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::config::Secret;

    use super::{COMMON, NewPassword};

    fn parse(text: &str) -> Result<NewPassword, &'static str> {
        NewPassword::parse(&Secret::new(text), &["ann.example", "Ann@Example.org"])
    }

    #[test]
    fn passwords_have_10_to_256_characters_whatever_they_are() {
        for good in [
            "correct horse",
            "ten chars!",
            "ééééééüüüü",
            &"x".repeat(256),
        ] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", "nine char", "ééééééüüü", &"x".repeat(257)] {
            assert_eq!(parse(bad).unwrap_err(), "10 to 256 characters", "{bad:?}");
        }
    }

    #[test]
    fn common_ones_are_refused_in_any_case() {
        assert!(COMMON.len() > 1000);
        for bad in ["1234567890", "qwertyuiop", "QwertyUiop", "Q1W2E3R4T5"] {
            assert!(parse(bad).unwrap_err().contains("common"), "{bad:?}");
        }
    }

    #[test]
    fn the_list_is_sorted_lower_case_and_of_the_right_length() {
        let list = include_str!("common_passwords.txt")
            .lines()
            .collect::<Vec<_>>();
        assert!(list.is_sorted());
        for line in list {
            assert_eq!(line, line.to_lowercase());
            assert!((NewPassword::MIN..=NewPassword::MAX).contains(&line.chars().count()));
        }
    }

    #[test]
    fn what_everybody_knows_of_the_user_is_refused() {
        assert!(parse("ANN.example").is_err());
        assert!(parse("ann@example.org").is_err());
        assert!(parse("ann@example.org!").is_ok());
    }
}
