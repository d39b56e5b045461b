//! The keys by which callers name themselves.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// The keys by which callers name themselves: `gateway:…,ops:…`. Two keys of one name allow rotation.
#[derive(Clone, Debug)]
pub struct ServiceKeys(Arc<[(String, Secret)]>);

impl ServiceKeys {
    /// Reads `name:key,name:key`.
    ///
    /// # Errors
    /// Says what is wrong; never repeats a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = text
            .split(',')
            .map(|pair| match pair.trim().split_once(':') {
                Some((name, key)) if !name.is_empty() && key.len() >= 8 => {
                    Ok((name.to_owned(), Secret::new(key)))
                }
                Some((name, _)) if !name.is_empty() => {
                    Err(format!("the key of {name} needs at least 8 characters"))
                }
                _ => Err("expected name:key,name:key".to_owned()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(keys.into()))
    }

    /// One key for the parts of one process, made anew each time it starts.
    #[must_use]
    pub fn ephemeral() -> Self {
        let key = format!(
            "{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        );
        Self([("standalone".to_owned(), Secret::new(&key))].into())
    }

    /// The key that the part `name` calls with: its own, or the first.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Secret> {
        self.0
            .iter()
            .find(|(owner, _)| owner == name)
            .or_else(|| self.0.first())
            .map(|(_, key)| key.clone())
    }

    /// Whose key it is. Every key is compared, each in constant time.
    pub(super) fn owner(&self, presented: &[u8]) -> Option<&str> {
        self.0.iter().fold(None, |found, (name, key)| {
            let same: bool = key.expose().as_bytes().ct_eq(presented).into();
            if same { Some(name.as_str()) } else { found }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ServiceKeys;

    #[test]
    fn a_key_names_its_owner_and_two_keys_of_one_name_both_hold() {
        let keys = ServiceKeys::parse("gateway:old-old-old, gateway:new-new-new,ops:secret-secret")
            .unwrap();
        assert_eq!(keys.owner(b"old-old-old"), Some("gateway"));
        assert_eq!(keys.owner(b"new-new-new"), Some("gateway"));
        assert_eq!(keys.owner(b"secret-secret"), Some("ops"));
        assert_eq!(keys.owner(b"secret-secre"), None);
        assert_eq!(keys.owner(b""), None);
        assert_eq!(keys.of("ops").unwrap().expose(), "secret-secret");
        assert_eq!(keys.of("room").unwrap().expose(), "old-old-old");
    }

    #[test]
    fn bad_keys_are_refused_without_repeating_them() {
        for text in ["", "gateway", ":12345678", "gateway:short"] {
            let message = ServiceKeys::parse(text).unwrap_err();
            assert!(!message.contains("short\""), "{message}");
        }
        assert!(!format!("{:?}", ServiceKeys::parse("a:12345678")).contains("12345678"));
    }
}
