//! Where a client is.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use tutti_common::{ids::UserId, limits::prefix_of};

/// Into how many groups networks are divided, for each account anew.
pub const GROUPS: u8 = 8;

/// As much as is read of an address that is none.
const MAX_CHARS: usize = 64;

/// What a client has of the internet: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network(String);

/// How a network that somebody has logged in from is known to the database: SHA-256 of it and of whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkHash(pub [u8; 32]);

impl Network {
    /// Of an address, or of an IPv6 network that ends in `/64`. Callers may name their clients otherwise: a text that is
    /// neither stands for itself.
    #[must_use]
    pub fn of(address: &str) -> Self {
        let host = address.strip_suffix("/64").unwrap_or(address);
        Self(
            host.parse()
                .map_or_else(|_| address.chars().take(MAX_CHARS).collect(), prefix_of),
        )
    }

    /// For keys of limits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As one of `user`'s networks.
    #[must_use]
    pub fn hash(&self, user: UserId) -> NetworkHash {
        NetworkHash(Sha256::digest(format!("{user} {}", self.0)).into())
    }

    /// The group of the network among those that `account` is tried from. All networks of a provider (an IPv4 /16, an IPv6 /32)
    /// are in one group, so that who has many of its addresses uses up what that group may do, and not what the others may.
    #[must_use]
    pub fn group(&self, account: &str) -> u8 {
        let host = self.0.strip_suffix("/64").unwrap_or(&self.0);
        let provider = match host.parse() {
            Ok(IpAddr::V4(address)) => format!("{:?}", &address.octets()[..2]),
            Ok(IpAddr::V6(address)) => format!("{:?}", &address.octets()[..4]),
            Err(_) => self.0.clone(),
        };
        Sha256::digest(format!("{account} {provider}"))[0] % GROUPS
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tutti_common::ids::UserId;

    use super::{GROUPS, Network};

    #[test]
    fn a_network_is_an_ipv4_address_or_a_64() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:0:7::1", "2001:db8:0:7::/64"),
            ("2001:db8:0:7::/64", "2001:db8:0:7::/64"),
            ("bot 7", "bot 7"),
            ("", ""),
        ] {
            assert_eq!(Network::of(address).as_str(), network, "{address}");
        }
        assert_eq!(Network::of(&"é".repeat(1000)).as_str().chars().count(), 64);
    }

    #[test]
    fn a_provider_is_in_one_group_and_providers_are_in_all() {
        let group = |address: &str, account: &str| Network::of(address).group(account);
        assert_eq!(group("192.0.2.7", "ann"), group("192.0.3.8", "ann"));
        assert_eq!(group("2001:db8::1", "ann"), group("2001:db8:7::1", "ann"));
        let groups = |account: &str| {
            (0..200)
                .map(|n| group(&format!("10.{n}.0.1"), account))
                .collect::<Vec<_>>()
        };
        let all = groups("ann").into_iter().collect::<HashSet<_>>();
        assert_eq!(all, (0..GROUPS).collect());
        assert_ne!(groups("ann"), groups("ben"));
    }

    #[test]
    fn nobodys_networks_are_another_ones() {
        let network = Network::of("192.0.2.7");
        let (ann, ben) = (UserId::new(), UserId::new());
        assert_eq!(network.hash(ann), network.hash(ann));
        assert_ne!(network.hash(ann), network.hash(ben));
        assert_ne!(network.hash(ann), Network::of("192.0.2.8").hash(ann));
    }
}
