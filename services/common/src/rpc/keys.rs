//! The keys by which callers name themselves, and what each may do.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// The keys by which callers name themselves: `gateway:…,ops(rooms.read):…`. Two keys of one name allow rotation.
#[derive(Clone, Debug)]
pub struct ServiceKeys(Arc<[ServiceKey]>);

/// A key, whose it is, and what it may do.
#[derive(Debug)]
pub(super) struct ServiceKey {
    pub(super) name: String,
    key: Secret,
    /// `None`: every call.
    scopes: Option<Vec<Scope>>,
}

/// Calls that a key may make: those of one area, `rooms`, or those of them that read, `rooms.read`, or the others,
/// `rooms.write`.
#[derive(Debug)]
struct Scope {
    area: &'static str,
    /// `None`: both.
    is_read: Option<bool>,
}

impl ServiceKeys {
    /// Reads `name:key,name(scope+scope):key`. A key without scopes may make every call.
    ///
    /// A process of before there were scopes takes `name(scope+scope)` for a name: it accepts the key, for every call.
    ///
    /// # Errors
    /// Says what is wrong; never repeats a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = text
            .split(',')
            .map(|pair| match pair.trim().split_once(':') {
                Some((owner, key)) if !owner.is_empty() && key.len() >= 8 => {
                    ServiceKey::parse(owner, key)
                }
                Some((owner, _)) if !owner.is_empty() => {
                    Err(format!("the key of {owner} needs at least 8 characters"))
                }
                _ => Err("expected name:key,name(scope+scope):key".to_owned()),
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
        let key = ServiceKey {
            name: "standalone".to_owned(),
            key: Secret::new(&key),
            scopes: None,
        };
        Self([key].into())
    }

    /// The key that the part `name` calls with: its own, or the first.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Secret> {
        self.0
            .iter()
            .find(|key| key.name == name)
            .or_else(|| self.0.first())
            .map(|key| key.key.clone())
    }

    /// Which key it is. Every key is compared, each in constant time.
    pub(super) fn find(&self, presented: &[u8]) -> Option<&ServiceKey> {
        self.0.iter().fold(None, |found, key| {
            let same: bool = key.key.expose().as_bytes().ct_eq(presented).into();
            if same { Some(key) } else { found }
        })
    }
}

impl ServiceKey {
    fn parse(owner: &str, key: &str) -> Result<Self, String> {
        let (name, scopes) = match owner.strip_suffix(')').and_then(|it| it.split_once('(')) {
            Some(("", _)) => return Err(format!("{owner} needs a name before its scopes")),
            Some((name, scopes)) => {
                let scopes = scopes.split('+').map(Scope::parse);
                (name, Some(scopes.collect::<Result<_, _>>()?))
            }
            None => (owner, None),
        };
        Ok(Self {
            name: name.to_owned(),
            key: Secret::new(key),
            scopes,
        })
    }

    /// Whether it may make a call: `path` is `/tutti.rooms.v1.RoomService/GetRoom`.
    pub(super) fn may_call(&self, path: &str) -> bool {
        let Some(scopes) = &self.scopes else {
            return true;
        };
        let (area, is_read) = (tutti_proto::area(path), tutti_proto::is_read(path));
        scopes.iter().any(|scope| {
            Some(scope.area) == area && scope.is_read.is_none_or(|reads| reads == is_read)
        })
    }
}

impl Scope {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, is_read) = match text.split_once('.') {
            None => (text, None),
            Some((name, "read")) => (name, Some(true)),
            Some((name, "write")) => (name, Some(false)),
            Some(_) => ("", None),
        };
        let area = tutti_proto::areas().into_iter().find(|&area| area == name);
        let area = area.ok_or_else(|| {
            let areas = Vec::from_iter(tutti_proto::areas()).join(", ");
            format!("there is no scope {text:?}; there are {areas}, and each with .read or .write")
        })?;
        Ok(Self { area, is_read })
    }
}

#[cfg(test)]
mod tests {
    use super::ServiceKeys;

    #[test]
    fn a_key_names_its_owner_and_two_keys_of_one_name_both_hold() {
        let keys = ServiceKeys::parse("gateway:old-old-old, gateway:new-new-new,ops:secret-secret")
            .unwrap();
        let owner = |key: &str| keys.find(key.as_bytes()).map(|key| key.name.as_str());
        assert_eq!(owner("old-old-old"), Some("gateway"));
        assert_eq!(owner("new-new-new"), Some("gateway"));
        assert_eq!(owner("secret-secret"), Some("ops"));
        assert_eq!(owner("secret-secre"), None);
        assert_eq!(owner(""), None);
        assert_eq!(keys.of("ops").unwrap().expose(), "secret-secret");
        assert_eq!(keys.of("room").unwrap().expose(), "old-old-old");
    }

    #[test]
    fn a_key_may_do_what_its_scopes_say_and_everything_without_them() {
        const CALLS: [&str; 5] = [
            "/tutti.rooms.v1.RoomService/GetRoom",
            "/tutti.rooms.v1.RoomService/WatchRoom",
            "/tutti.rooms.v1.RoomService/JoinRoom",
            "/tutti.rooms.v1.RoomService/Unheard",
            "/tutti.friends.v1.FriendService/ListFriends",
        ];
        for (owner, may) in [
            ("ops", "11111"),
            ("ops(rooms)", "11110"),
            ("ops(rooms.read)", "11000"),
            ("ops(rooms.write)", "00110"),
            ("ops(auth)", "00000"),
            ("ops(rooms.read+friends.read)", "11001"),
        ] {
            // What a key may hold was never restricted.
            let keys = ServiceKeys::parse(&format!("{owner}:a(b):c+d)")).unwrap();
            let key = keys.find(b"a(b):c+d)").unwrap();
            assert_eq!(key.name, "ops");
            assert_eq!(keys.of("ops").unwrap().expose(), "a(b):c+d)");
            let does = CALLS.map(|call| if key.may_call(call) { "1" } else { "0" });
            assert_eq!(does.concat(), may, "{owner}");
        }
        for owner in [
            "(rooms)",
            "ops()",
            "ops(room)",
            "ops(rooms.all)",
            "ops(rooms+)",
        ] {
            let refusal = ServiceKeys::parse(&format!("{owner}:12345678")).unwrap_err();
            assert!(!refusal.contains("12345678"), "{refusal}");
        }
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
