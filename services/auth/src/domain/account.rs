//! Users: what they may be called and what is known of them.

use tutti_common::{clock::UnixMs, config::Secret, ids::UserId, status::Violation, text};

use super::password::NewPassword;

/// What everybody may know of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// As the user writes it.
    pub username: String,
    /// The name shown; none where the user gave none.
    pub name: Option<String>,
}

/// A user as they see themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What everybody may know.
    pub user: User,
    /// As the user writes it.
    pub email: String,
    /// A JSON object.
    pub profile_json: String,
    /// When the account was made.
    pub created_at: UnixMs,
    /// When the last session was opened.
    pub last_login: Option<UnixMs>,
}

/// Names that would pass for somebody in charge, or for a part of the program.
const RESERVED: [&str; 22] = [
    "abuse",
    "admin",
    "administrator",
    "anonymous",
    "api",
    "everyone",
    "help",
    "mod",
    "moderator",
    "null",
    "official",
    "operator",
    "postmaster",
    "root",
    "security",
    "staff",
    "support",
    "system",
    "tutti",
    "undefined",
    "webmaster",
    "www",
];

/// A username: 3 to 32 of `a-z A-Z 0-9 _ . -`, its ends letters or digits, not a reserved one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// Fewest characters.
    pub const MIN: usize = 3;
    /// Most characters.
    pub const MAX: usize = 32;

    /// Checks `text`; the error says what a username should be.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !(Self::MIN..=Self::MAX).contains(&text.chars().count()) {
            return Err("3 to 32 characters");
        }
        if !text.chars().all(is_username_char) {
            return Err("only letters a to z, digits, _, . and -");
        }
        let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if !is_end(text.chars().next()) || !is_end(text.chars().next_back()) {
            return Err("starts and ends with a letter or digit");
        }
        let username = Self(text.to_owned());
        if RESERVED.contains(&username.key().as_str()) {
            return Err("is reserved");
        }
        Ok(username)
    }

    /// As the user writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case: two usernames with one key are the same.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Whether a username may contain `c`.
#[must_use]
pub fn is_username_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The key that somebody's username would have, if `text` is one that somebody may have: reserved
/// names too, since a name may become reserved after it was taken.
#[must_use]
pub fn username_key(text: &str) -> Option<String> {
    let possible = text.len() <= Username::MAX && text.chars().all(is_username_char);
    (possible && !text.is_empty()).then(|| text.to_ascii_lowercase())
}

/// An e-mail address: one `@`, something before it, and after it a domain. Whether post arrives
/// there is not for its spelling to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Most bytes of an address (RFC 5321, section 4.5.3.1.3, without the angle brackets).
    pub const MAX: usize = 254;
    /// Most bytes before the `@` (RFC 5321, section 4.5.3.1.1).
    pub const MAX_LOCAL: usize = 64;

    const WRONG: &str = "an e-mail address such as ann@example.org";

    /// Checks the address of a new account, in which each character must be seen; the error says what an address should be.
    pub fn parse_new(text: &str) -> Result<Self, &'static str> {
        if !text::is_clean(text) {
            return Err(Self::WRONG);
        }
        Self::parse(text)
    }

    /// Checks `text`, which may be the address of an account that was made under fewer rules; the error says what an address
    /// should be.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > Self::MAX {
            return Err("at most 254 characters");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Self::WRONG);
        }
        match text.split_once('@') {
            Some((local, domain))
                if (1..=Self::MAX_LOCAL).contains(&local.len()) && is_domain(domain) =>
            {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err(Self::WRONG),
        }
    }

    /// As the user writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case: two addresses with one key are the same.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

/// Labels between dots, at least two of them, or this machine.
fn is_domain(text: &str) -> bool {
    let labels = text.split('.').collect::<Vec<_>>();
    let whole = labels
        .iter()
        .all(|label| !label.is_empty() && !label.contains('@'));
    whole && (labels.len() > 1 || text.eq_ignore_ascii_case("localhost"))
}

/// The name shown: 1 to 100 characters that can be seen, see [`text::name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Checks `text` without the blanks around it; the error says what a name should be.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        text::name(text).map(Self)
    }

    /// What is shown of a name that an earlier version took, which had fewer rules; `None` where nothing of it can be seen.
    #[must_use]
    pub fn of_record(text: &str) -> Option<String> {
        text::has_visible(text).then(|| text::cleaned(text).into_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What it takes to make an account, checked.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Where to write to the user, and one of two ways to log in.
    pub email: Email,
    /// What others find the user by, and the other way to log in.
    pub username: Username,
    /// The name shown.
    pub name: Option<DisplayName>,
    /// To be hashed and forgotten.
    pub password: NewPassword,
}

impl Registration {
    /// Checks everything; the error holds all that is wrong.
    pub fn check(
        email: &str,
        username: &str,
        password: &Secret,
        name: Option<&str>,
    ) -> Result<Self, Vec<Violation>> {
        let mut wrong = Vec::new();
        let checked_email = keep(&mut wrong, "email", Email::parse_new(email));
        let checked_username = keep(&mut wrong, "username", Username::parse(username));
        let known = [email, username, name.unwrap_or_default()];
        let password = NewPassword::parse(password, &known);
        let password = keep(&mut wrong, "password", password);
        let name = name.map(DisplayName::parse).transpose();
        let name = keep(&mut wrong, "name", name);
        match (checked_email, checked_username, password, name) {
            (Some(email), Some(username), Some(password), Some(name)) => Ok(Self {
                email,
                username,
                name,
                password,
            }),
            (_, _, _, _) => Err(wrong),
        }
    }
}

fn keep<T>(wrong: &mut Vec<Violation>, field: &str, checked: Result<T, &'static str>) -> Option<T> {
    checked
        .map_err(|message| wrong.push(Violation::new(field, message)))
        .ok()
}

/// How somebody names their account to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// By e-mail, in lower case.
    Email(String),
    /// By username, in lower case.
    Username(String),
}

impl Login {
    /// Reads an e-mail address or a username, in any case; none where it is nobody's for certain.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match Email::parse(text) {
            Ok(email) => Some(Self::Email(email.key())),
            Err(_) => username_key(text).map(Self::Username),
        }
    }
}

#[cfg(test)]
mod tests {
    use tutti_common::config::Secret;

    use super::{DisplayName, Email, Login, RESERVED, Registration, Username};

    #[test]
    fn usernames_are_3_to_32_of_their_characters_between_letters_or_digits() {
        let long = "a".repeat(32);
        for good in ["ann", "Ann", "a.b", "a_b-c.d", "007", "a--b", &long] {
            assert_eq!(Username::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(33);
        for bad in [
            "",
            "ab",
            "_ann",
            "ann_",
            ".ann",
            "ann-",
            "an n",
            "ann\0",
            "änn",
            "a@b",
            "ann%",
            "ａｎｎ",
            "ann\n",
            &too_long,
        ] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reserved_usernames_are_refused_in_any_case() {
        for bad in RESERVED {
            assert_eq!(Username::parse(bad), Err("is reserved"));
            assert_eq!(Username::parse(&bad.to_uppercase()), Err("is reserved"));
        }
        assert!(Username::parse("administrator1").is_ok());
    }

    #[test]
    fn emails_have_one_at_and_a_domain() {
        for good in [
            "ann@example.org",
            "a+b.c@sub.example.org",
            "ann@localhost",
            "änn@exämple.org",
        ] {
            assert_eq!(Email::parse(good).unwrap().as_str(), good);
        }
        let long_local = format!("{}@example.org", "a".repeat(65));
        let long = format!("ann@{}.org", "a".repeat(250));
        for bad in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann@example",
            "ann@@example.org",
            "ann@exa@mple.org",
            "ann@.org",
            "ann@example.",
            "ann@a..b",
            "an n@example.org",
            " ann@example.org",
            "ann@example.org\n",
            "ann\0@example.org",
            &long_local,
            &long,
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
        // Accounts with such addresses still log in.
        for unseen in ["ann\u{202e}@example.org", "ann\u{ad}@example.org"] {
            assert!(Email::parse_new(unseen).is_err() && Email::parse(unseen).is_ok());
        }
    }

    #[test]
    fn names_lose_their_blanks_and_have_1_to_100_characters() {
        assert_eq!(DisplayName::parse("  Ann  ").unwrap().as_str(), "Ann");
        assert!(DisplayName::parse(&"é".repeat(100)).is_ok());
        for bad in [
            "",
            "   ",
            "a\nb",
            "a\0b",
            "a\u{85}b",
            "\u{3164}",
            "a\u{202e}b",
            &"é".repeat(101),
        ] {
            assert!(DisplayName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_registration_is_said_at_once() {
        let wrong = Registration::check("ann", "a", &Secret::new("short"), Some("")).unwrap_err();
        let fields = wrong
            .iter()
            .map(|violation| violation.field.as_str())
            .collect::<Vec<_>>();
        assert_eq!(fields, ["email", "username", "password", "name"]);
    }

    #[test]
    fn a_login_is_an_email_or_a_username_in_any_case() {
        assert_eq!(
            Login::parse("Ann@Example.ORG"),
            Some(Login::Email("ann@example.org".to_owned()))
        );
        assert_eq!(Login::parse("ANN"), Some(Login::Username("ann".to_owned())));
        for nobody in ["", "ann\0", "än", "a b", &"a".repeat(33), "ann@"] {
            assert_eq!(Login::parse(nobody), None, "{nobody:?}");
        }
    }
}
