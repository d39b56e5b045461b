//! The gRPC surface between Tutti's parts, and to other backends: generated messages, clients and
//! servers, and the conversions that every part needs.

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
    use super::{timestamp, unix_ms};

    #[test]
    fn timestamps_survive_the_round_trip() {
        for ms in [0, 1, 999, 1_000, 1_704_067_200_123, -1, -1_500] {
            assert_eq!(unix_ms(&timestamp(ms)), ms);
        }
    }
}
