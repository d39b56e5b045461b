//! Blocks of addresses.

use std::net::IpAddr;

/// A block of addresses. IPv4 addresses count as their IPv4-mapped IPv6 form (`::ffff:0:0/96`), so that both forms are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    bits: u128,
    /// How many leading bits are the block's, 0 to 128.
    prefix: u32,
}

/// How many leading bits an IPv4-mapped address has before the IPv4 address begins.
const MAPPED_PREFIX: u32 = 96;

pub(crate) fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Network {
    /// Reads `address` or `address/prefix`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let (longest, shift) = match address {
            IpAddr::V4(_) => (32, MAPPED_PREFIX),
            IpAddr::V6(_) => (128, 0),
        };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|&prefix| prefix <= longest)?,
            None => longest,
        };
        Some(Self {
            bits: bits_of(address),
            prefix: prefix + shift,
        })
    }

    pub(crate) fn contains(self, bits: u128) -> bool {
        // A shift by all 128 bits has no result: the whole address space contains everything.
        (self.bits ^ bits)
            .checked_shr(128 - self.prefix)
            .is_none_or(|rest| rest == 0)
    }
}

/// Reads a comma-separated list. Says which entry cannot be read and what was expected, without its value.
pub(crate) fn read_list<T>(
    text: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, String> {
    text.split(',')
        .map(str::trim)
        .enumerate()
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(index, entry)| {
            read(entry).ok_or_else(|| format!("entry {}: expected {expected}", index + 1))
        })
        .collect()
}

/// `PROXY_NETWORKS`: a list of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Reads a comma-separated list of addresses and networks: `10.0.0.0/8,192.168.1.20,fd00::/8`.
    ///
    /// # Errors
    /// Which entry cannot be read, without its value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "an address or a network, such as 10.0.0.0/8, 192.168.1.20 or fd00::/8";
        read_list(text, expected, Network::parse).map(Self)
    }

    /// Whether no block is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in one of the blocks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits_of(address);
        self.0.iter().any(|network| network.contains(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::Networks;

    #[test]
    fn an_address_is_in_a_list_in_whichever_form_it_comes() {
        let networks = Networks::parse("10.0.0.0/8, 192.168.1.20,fd00::/8,").unwrap();
        for inside in ["10.9.8.7", "::ffff:10.9.8.7", "192.168.1.20", "fd12::1"] {
            assert!(networks.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.168.1.21", "::1", "fe80::1"] {
            assert!(!networks.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(Networks::parse("").unwrap().is_empty());
        for text in ["proxy.example", "10.0.0.0/33", "10.0.0.1:80", "10.0.0"] {
            let refusal = Networks::parse(&format!("::1,{text}")).unwrap_err();
            assert!(
                refusal.starts_with("entry 2:") && !refusal.contains("proxy"),
                "{refusal}"
            );
        }
    }
}
