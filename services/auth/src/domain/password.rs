//! What a password may be: long enough, and not among the first that somebody would try. No rules of
//! composition (NIST SP 800-63B, section 5.1.1.2).

use tutti_common::config::Secret;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use super::blocklist;

/// A password in Unicode's NFC, in which it is hashed: keyboards and systems differ in how they write the same letter. Nothing
/// else about it is changed; blanks around it belong to it.
#[must_use]
pub fn normalized(password: &Secret) -> Secret {
    if is_nfc(password.expose()) {
        return password.clone();
    }
    Secret::new(&password.expose().nfc().collect::<String>())
}

/// A password that may be taken: 10 to 256 characters, not one that others would try first.
#[derive(Clone, Debug)]
pub struct NewPassword(Secret);

impl NewPassword {
    /// Fewest characters, in NFC.
    pub const MIN: usize = 10;
    /// Most characters, in NFC.
    pub const MAX: usize = 256;

    /// Checks `text` for a user of whom `known` is known: names and addresses, compared without regard to case. The
    /// error says what is wrong with it.
    pub fn parse(text: &Secret, known: &[&str]) -> Result<Self, &'static str> {
        let password = normalized(text);
        if !(Self::MIN..=Self::MAX).contains(&password.expose().chars().count()) {
            return Err("10 to 256 characters");
        }
        let known = known.iter().map(|known| known.nfc().collect::<String>());
        let known = known.collect::<Vec<_>>();
        let known = known.iter().map(String::as_str).collect::<Vec<_>>();
        blocklist::fault(password.expose(), &known).map_or(Ok(Self(password)), Err)
    }

    /// The password in NFC, to be hashed.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::config::Secret;

    use super::{NewPassword, normalized};

    fn parse(text: &str) -> Result<NewPassword, &'static str> {
        NewPassword::parse(&Secret::new(text), &["ann.example", "Ann@Example.org"])
    }

    #[test]
    fn passwords_have_10_to_256_characters_whatever_they_are() {
        // Neither a repetition nor a run.
        let long = ('一'..).step_by(3).take(NewPassword::MAX);
        let long = long.collect::<String>();
        for good in ["correct horse", "ten chars!", "éèêëüùûôóò", &long] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        for bad in ["", "nine char", "éèêëüùûôó", &format!("{long}x")] {
            assert_eq!(parse(bad).unwrap_err(), "10 to 256 characters", "{bad:?}");
        }
    }

    #[test]
    fn characters_are_those_of_nfc() {
        // 9 letters, written as 18 characters.
        let short = "e\u{301}e\u{300}e\u{302}e\u{308}u\u{308}u\u{300}u\u{302}o\u{302}o\u{301}";
        assert_eq!(parse(short).unwrap_err(), "10 to 256 characters");
        let password = parse(&format!("{short}o\u{300}")).unwrap();
        assert_eq!(password.into_secret().expose(), "éèêëüùûôóò");
    }

    #[test]
    fn nothing_but_its_form_is_changed() {
        for text in ["  correct horse  ", "\tcorrect horse\n", "ﬁne \u{a0}ﬁgures"] {
            assert_eq!(normalized(&Secret::new(text)).expose(), text);
        }
        assert_eq!(
            normalized(&Secret::new(" \u{212b}\u{1ed1} ")).expose(),
            " Åố "
        );
    }

    #[test]
    fn what_others_would_try_first_is_refused() {
        for bad in [
            "1234567890",
            "Password123!",
            "ann.example1",
            "ANN@example.org",
        ] {
            assert!(parse(bad).unwrap_err().contains("first"), "{bad:?}");
        }
    }
}
