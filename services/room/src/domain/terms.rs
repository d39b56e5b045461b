//! What a room is made with.

use tutti_common::{status::Violation, text};

/// How many may be in a room that says nothing.
const DEFAULT_MAX_PARTICIPANTS: u32 = 1_000;

/// How many a room may ask for.
const MAX_PARTICIPANTS: u32 = 100_000;

/// A room's name: 1 to 100 characters that can be seen, see [`text::name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomName(String);

impl RoomName {
    /// Checks a name.
    ///
    /// # Errors
    /// Says the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        text::name(text)
            .map(Self)
            .map_err(|message| Violation::new("name", message))
    }

    /// A name that was checked before, perhaps by an earlier version with fewer rules: without what is refused today. `None`
    /// where nothing of it can be seen.
    #[must_use]
    pub fn from_record(text: &str) -> Option<Self> {
        text::has_visible(text).then(|| Self(text::cleaned(text).into_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a room is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomTerms {
    /// Its name, if it has one.
    pub name: Option<RoomName>,
    /// Whether only the host's friends may come.
    pub is_friends_only: bool,
    /// How many may be in it.
    pub max_participants: u32,
}

impl RoomTerms {
    /// Checks what a room is to be made with.
    ///
    /// # Errors
    /// All rules it breaks.
    pub fn parse(
        name: Option<&str>,
        is_friends_only: bool,
        max_participants: Option<i64>,
    ) -> Result<Self, Vec<Violation>> {
        let name = name.map(RoomName::parse).transpose();
        let max_participants = match max_participants {
            None => Ok(DEFAULT_MAX_PARTICIPANTS),
            Some(wanted) => u32::try_from(wanted)
                .ok()
                .filter(|wanted| (1..=MAX_PARTICIPANTS).contains(wanted))
                .ok_or_else(|| Violation::new("max_participants", "1 to 100000")),
        };
        match (name, max_participants) {
            (Ok(name), Ok(max_participants)) => Ok(Self {
                name,
                is_friends_only,
                max_participants,
            }),
            (name, max_participants) => Err(name
                .err()
                .into_iter()
                .chain(max_participants.err())
                .collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RoomName, RoomTerms};

    #[test]
    fn names_have_1_to_100_characters_all_of_them_seen() {
        let long = "ü".repeat(100);
        for name in ["x", "Ann's room ♪", long.as_str()] {
            assert!(RoomTerms::parse(Some(name), false, None).is_ok(), "{name}");
        }
        let too_long = "ü".repeat(101);
        for name in ["", " ", "a\nb", "a\0", "a\u{202e}b", too_long.as_str()] {
            let broken = RoomTerms::parse(Some(name), false, None).unwrap_err();
            assert_eq!(broken[0].field, "name", "{name:?}");
        }
    }

    #[test]
    fn names_of_earlier_versions_lose_what_is_not_seen() {
        let name = |text| RoomName::from_record(text).map(|name| name.as_str().to_owned());
        assert_eq!(name("a\u{202e}b ♪").as_deref(), Some("ab ♪"));
        assert_eq!(name("\u{3164}"), None);
    }

    #[test]
    fn a_room_holds_1_to_100_000_and_1_000_if_not_said() {
        let max = |wanted| RoomTerms::parse(None, true, wanted).map(|terms| terms.max_participants);
        assert_eq!(max(None), Ok(1_000));
        assert_eq!(max(Some(1)), Ok(1));
        assert_eq!(max(Some(100_000)), Ok(100_000));
        for wanted in [0, -1, 100_001, i64::MAX] {
            assert!(max(Some(wanted)).is_err(), "{wanted}");
        }
    }

    #[test]
    fn all_broken_rules_are_named() {
        assert_eq!(
            RoomTerms::parse(Some(""), false, Some(0))
                .unwrap_err()
                .len(),
            2
        );
    }
}
