//! What somebody looks for among those who are in a room.

use tutti_common::status::Violation;

/// Members to look for, and how many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSearch {
    /// Part of a username, in lower case; empty for all members.
    part: String,
    /// The place of the last member of the page before, in order of joining.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl MemberSearch {
    /// Most characters to search for.
    pub const MAX_QUERY: usize = 64;
    /// Most members a page has.
    pub const MAX_LIMIT: usize = 500;
    /// As many as a page has where nobody says.
    pub const DEFAULT_LIMIT: usize = 100;

    /// Checks what is looked for. Absent and empty texts mean the same.
    ///
    /// # Errors
    /// All rules it breaks.
    pub fn parse(query: &str, cursor: &str, limit: Option<i32>) -> Result<Self, Vec<Violation>> {
        let mut broken = Vec::new();
        if query.chars().count() > Self::MAX_QUERY {
            broken.push(Violation::new("q", "at most 64 characters"));
        }
        let after = (!cursor.is_empty()).then(|| cursor.parse()).transpose();
        if after.is_err() {
            broken.push(Violation::new("cursor", "must be one that an answer gave"));
        }
        let limit = limit.map_or(Some(Self::DEFAULT_LIMIT), |limit| {
            let limit = usize::try_from(limit).ok();
            limit.filter(|limit| (1..=Self::MAX_LIMIT).contains(limit))
        });
        if limit.is_none() {
            broken.push(Violation::new("limit", "1 to 500"));
        }
        match (after, limit) {
            (Ok(after), Some(limit)) if broken.is_empty() => Ok(Self {
                part: query.to_lowercase(),
                after,
                limit,
            }),
            (_, _) => Err(broken),
        }
    }

    /// Whether all members are looked for.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        self.part.is_empty()
    }

    /// Whether it is one of those that are looked for.
    #[must_use]
    pub fn matches(&self, username: &str) -> bool {
        self.is_for_all() || username.to_lowercase().contains(&self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::MemberSearch;

    #[test]
    fn a_search_has_at_most_64_characters_and_a_page_1_to_500_members() {
        let long = "é".repeat(64);
        for (query, cursor, limit) in [
            ("", "", None),
            (long.as_str(), "0", Some(1)),
            ("x", "17", Some(500)),
        ] {
            assert!(MemberSearch::parse(query, cursor, limit).is_ok());
        }
        let too_long = "é".repeat(65);
        for (query, cursor, limit, fields) in [
            (too_long.as_str(), "", None, vec!["q"]),
            ("", "x", None, vec!["cursor"]),
            ("", "-1", None, vec!["cursor"]),
            ("", "", Some(0), vec!["limit"]),
            (
                too_long.as_str(),
                " ",
                Some(501),
                vec!["q", "cursor", "limit"],
            ),
        ] {
            let broken = MemberSearch::parse(query, cursor, limit).unwrap_err();
            let named = broken.iter().map(|violation| violation.field.as_str());
            assert_eq!(named.collect::<Vec<_>>(), fields);
        }
    }

    #[test]
    fn part_of_a_name_in_any_case_is_enough() {
        let matches = |query, name| {
            let search = MemberSearch::parse(query, "", None).unwrap();
            search.matches(name)
        };
        assert!(matches("", "Ann") && matches("NN", "Ann") && matches("a", "Ann"));
        assert!(!matches("an.", "Ann") && !matches("%", "Ann"));
    }
}
