//! The gRPC surface between Tutti's parts, and to other backends: generated messages, clients and
//! servers, and the conversions that every part needs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use prost::Message as _;
use prost_types::{
    FileDescriptorSet, MethodOptions,
    method_options::IdempotencyLevel::{self, IdempotencyUnknown, Idempotent, NoSideEffects},
};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated; the .proto files carry the documentation"
)]
mod tutti {
    pub mod auth {
        pub mod v1 {
            tonic::include_proto!("tutti.auth.v1");
        }
    }
    pub mod friends {
        pub mod v1 {
            tonic::include_proto!("tutti.friends.v1");
        }
    }
    pub mod rooms {
        pub mod v1 {
            tonic::include_proto!("tutti.rooms.v1");
        }
    }
}

/// Accounts, sessions and signing keys: `tutti.auth.v1`.
pub use tutti::auth::v1 as auth;
/// Friends and friend requests: `tutti.friends.v1`.
pub use tutti::friends::v1 as friends;
/// Rooms and playback: `tutti.rooms.v1`.
pub use tutti::rooms::v1 as rooms;

/// The compiled .proto files, for server reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");

/// To ask a process for its health, which is not in our .proto files.
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Whether a call may be made twice with the effect of one, as the .proto files say: `path` is
/// `/tutti.rooms.v1.RoomService/GetRoom`.
#[must_use]
pub fn is_idempotent(path: &str) -> bool {
    path == HEALTH || matches!(level(path), Some(NoSideEffects | Idempotent))
}

/// Whether a call only reads, as the .proto files say.
#[must_use]
pub fn is_read(path: &str) -> bool {
    level(path) == Some(NoSideEffects)
}

/// The areas that the packages of our .proto files are named after: `tutti.rooms.v1` is about `rooms`.
#[must_use]
pub fn areas() -> BTreeSet<&'static str> {
    METHODS.keys().filter_map(|path| area(path)).collect()
}

/// What a call is about: `/tutti.rooms.v1.RoomService/GetRoom` is about `rooms`.
#[must_use]
pub fn area(path: &str) -> Option<&str> {
    let (area, _) = path.strip_prefix("/tutti.")?.split_once('.')?;
    Some(area)
}

fn level(path: &str) -> Option<IdempotencyLevel> {
    METHODS.get(path).copied()
}

/// Every method of the .proto files, by its path.
static METHODS: LazyLock<HashMap<String, IdempotencyLevel>> = LazyLock::new(|| {
    // The build wrote them; a test reads them.
    let files = FileDescriptorSet::decode(DESCRIPTORS)
        .unwrap_or_default()
        .file;
    let mut methods = HashMap::new();
    for file in &files {
        for service in &file.service {
            for method in &service.method {
                let options = method.options.as_ref();
                let level = options.map_or(IdempotencyUnknown, MethodOptions::idempotency_level);
                let (package, service) = (file.package(), service.name());
                methods.insert(format!("/{package}.{service}/{}", method.name()), level);
            }
        }
    }
    methods
});

/// Unix milliseconds as a protobuf timestamp.
#[must_use]
pub fn timestamp(unix_ms: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: unix_ms.div_euclid(1000),
        // Less than a second: fits whatever the sign.
        nanos: i32::try_from(unix_ms.rem_euclid(1000) * 1_000_000).unwrap_or(0),
    }
}

/// A protobuf timestamp in Unix milliseconds; what is finer is cut off.
#[must_use]
pub fn unix_ms(timestamp: &prost_types::Timestamp) -> i64 {
    timestamp
        .seconds
        .saturating_mul(1000)
        .saturating_add(i64::from(timestamp.nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::{area, areas, is_idempotent, is_read, timestamp, unix_ms};

    #[test]
    fn what_a_call_is_about_and_whether_it_reads_is_in_the_proto_files() {
        assert_eq!(Vec::from_iter(areas()), ["auth", "friends", "rooms"]);
        assert_eq!(area("/tutti.rooms.v1.RoomService/GetRoom"), Some("rooms"));
        assert_eq!(area("/grpc.health.v1.Health/Check"), None);
        assert!(is_read("/tutti.rooms.v1.RoomService/WatchRoom"));
        for call in ["JoinRoom", "SyncState", "Unheard"] {
            assert!(!is_read(&format!("/tutti.rooms.v1.RoomService/{call}")));
        }
    }

    #[test]
    fn what_may_be_done_twice_is_in_the_proto_files() {
        for call in [
            "/tutti.auth.v1.AuthService/GetSigningKeys",
            "/tutti.friends.v1.FriendService/CheckFriendships",
            "/tutti.rooms.v1.RoomService/JoinRoom",
            "/tutti.rooms.v1.RoomService/WatchRoom",
            "/grpc.health.v1.Health/Check",
        ] {
            assert!(is_idempotent(call), "{call}");
        }
        for call in [
            // A second use of a refresh token ends its session; a second state is a second version.
            "/tutti.auth.v1.AuthService/Refresh",
            "/tutti.friends.v1.FriendService/SendFriendRequest",
            "/tutti.rooms.v1.RoomService/SyncState",
            "/tutti.rooms.v1.RoomService/Unheard",
        ] {
            assert!(!is_idempotent(call), "{call}");
        }
    }

    #[test]
    fn timestamps_survive_the_round_trip() {
        for ms in [0, 1, 999, 1_000, 1_704_067_200_123, -1, -1_500] {
            assert_eq!(unix_ms(&timestamp(ms)), ms);
        }
    }
}
