//! Ids: `TypeIDs`, a prefix and 26 base-32 characters, in order of their making.

use type_safe_id::{StaticType, TypeSafeId};

macro_rules! id {
    ($marker:ident, $id:ident, $prefix:literal, $what:literal) => {
        #[doc = concat!("Marks the id of ", $what, ".")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $marker;

        impl StaticType for $marker {
            const TYPE: &'static str = $prefix;
        }

        #[doc = concat!("The id of ", $what, ", `", $prefix, "_…`.")]
        pub type $id = TypeSafeId<$marker>;
    };
}

id!(User, UserId, "user", "a user");
id!(Room, RoomId, "room", "a room");
id!(FriendRequest, FriendRequestId, "freq", "a friend request");
id!(
    Session,
    SessionId,
    "sess",
    "a session: a family of refresh tokens"
);
id!(Connection, ConnectionId, "conn", "a Socket.IO connection");

#[cfg(test)]
mod tests {
    use super::{RoomId, UserId};

    #[test]
    fn an_id_is_its_prefix_and_26_characters_and_reads_back() {
        let id = UserId::new();
        let text = id.to_string();
        assert_eq!(text.len(), "user_".len() + 26);
        assert!(text.starts_with("user_"));
        assert_eq!(text.parse::<UserId>().unwrap(), id);
    }

    #[test]
    fn another_kind_of_id_is_refused() {
        assert!(UserId::new().to_string().parse::<RoomId>().is_err());
        assert!("room_".parse::<RoomId>().is_err());
        assert!("nonsense".parse::<RoomId>().is_err());
    }
}
