//! Which addresses the server may connect to on somebody's behalf.

use std::{net::IpAddr, sync::LazyLock};

use url::Host;

use crate::network::{Network, bits_of, read_list};

fn networks(list: &[&str]) -> Vec<Network> {
    list.iter()
        .filter_map(|text| Network::parse(text))
        .collect()
}

/// IPv4 blocks that are not the public internet's: IANA's special-purpose registry, multicast, what is reserved, and the one public
/// address that is a cloud's metadata service.
static SPECIAL_V4: LazyLock<Vec<Network>> = LazyLock::new(|| {
    networks(&[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ])
});

/// The only block from which IANA gives public IPv6 addresses.
static GLOBAL_V6: LazyLock<Vec<Network>> = LazyLock::new(|| networks(&["2000::/3"]));

/// IPv6 blocks within that which are not the public internet's: protocol assignments (Teredo among them), documentation, 6to4,
/// which wraps any IPv4 address.
static SPECIAL_V6: LazyLock<Vec<Network>> =
    LazyLock::new(|| networks(&["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]));

static MAPPED: LazyLock<Vec<Network>> = LazyLock::new(|| networks(&["::ffff:0:0/96"]));

/// NAT64 (RFC 6052): an IPv6-only machine reaches IPv4 hosts by these. The IPv4 address is in the last 32 bits.
static NAT64: LazyLock<Vec<Network>> = LazyLock::new(|| networks(&["64:ff9b::/96"]));

fn contain(networks: &[Network], bits: u128) -> bool {
    networks.iter().any(|network| network.contains(bits))
}

/// Whether an address is one of the public internet.
#[must_use]
pub(super) fn is_public(address: IpAddr) -> bool {
    let bits = bits_of(address);
    if contain(&MAPPED, bits) {
        return !contain(&SPECIAL_V4, bits);
    }
    if contain(&NAT64, bits) {
        let Ok(v4) = u32::try_from(bits & u128::from(u32::MAX)) else {
            return false;
        };
        return is_public(IpAddr::from(v4.to_be_bytes()));
    }
    contain(&GLOBAL_V6, bits) && !contain(&SPECIAL_V6, bits)
}

/// `OUTBOUND_ALLOW`: hosts that may be connected to although their addresses are not public.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundAllow(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: AllowedHost,
    /// Any port where there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedHost {
    /// As addresses spell it: in lower case, in ASCII, without a dot at its end.
    Name(String),
    Network(Network),
}

impl OutboundAllow {
    /// Reads a comma-separated list of host names, addresses and networks, each with a port or for any:
    /// `nas.lan,192.168.1.20:4533,10.0.0.0/8,[fd00::1]:80`.
    ///
    /// # Errors
    /// Which entry cannot be read, without its value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "a host name, an address or a network, each with a port or for any, such as nas.lan, \
                        192.168.1.20:4533, 10.0.0.0/8 or [fd00::1]:80";
        read_list(text, expected, Entry::parse).map(Self)
    }

    /// Whether a connection to `address` is allowed for an address with that host and port.
    #[must_use]
    pub(super) fn permits(&self, host: &str, address: IpAddr, port: u16) -> bool {
        is_public(address)
            || self.0.iter().any(|entry| {
                entry.port.is_none_or(|allowed| allowed == port)
                    && match &entry.host {
                        AllowedHost::Name(name) => name == host,
                        AllowedHost::Network(network) => network.contains(bits_of(address)),
                    }
            })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        // An IPv6 address has colons of its own: with a port it is in brackets.
        if let Some(host) = AllowedHost::parse(text) {
            return Some(Self { host, port: None });
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|&port| port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(host) => AllowedHost::Network(Network::parse(host.strip_suffix(']')?)?),
            // `a:b:80`, an IPv6 address or nothing at all.
            None if host.contains(':') => return None,
            None => AllowedHost::parse(host)?,
        };
        Some(Self {
            host,
            port: Some(port),
        })
    }
}

impl AllowedHost {
    fn parse(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        if let Some(network) = Network::parse(bare) {
            return Some(Self::Network(network));
        }
        match Host::parse(text) {
            // Nobody is called so: a pattern would silently match nothing.
            Ok(Host::Domain(name)) if name.contains('*') => None,
            Ok(Host::Domain(name)) => Some(Self::Name(name.trim_end_matches('.').to_owned())),
            // `192.168.1` means 192.168.0.1 to browsers, and something else to whoever wrote it.
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_) => None,
        }
        .filter(|host| *host != Self::Name(String::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::{OutboundAllow, is_public};

    fn public(address: &str) -> bool {
        is_public(address.parse().unwrap_or_else(|_| panic!("{address}")))
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
        ] {
            assert!(public(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn what_is_listed_is_permitted_and_nothing_beside_it() {
        let allow = OutboundAllow::parse(
            " nas.LAN:4533, 192.168.1.0/24 ,[fd00::1]:80,10.0.0.7,fd01::/16,,Bücher.example.",
        )
        .unwrap();
        let permits =
            |host: &str, address: &str, port| allow.permits(host, address.parse().unwrap(), port);
        assert!(permits("nas.lan", "10.9.9.9", 4533));
        assert!(!permits("nas.lan", "10.9.9.9", 80), "another port");
        assert!(!permits("not-nas.lan", "10.9.9.9", 4533), "another name");
        assert!(permits("router.lan", "192.168.1.1", 80));
        assert!(permits("router.lan", "::ffff:192.168.1.1", 80));
        assert!(!permits("router.lan", "192.168.2.1", 80));
        assert!(permits("[fd00::1]", "fd00::1", 80));
        assert!(!permits("[fd00::1]", "fd00::1", 8080));
        assert!(!permits("[fd00::2]", "fd00::2", 80));
        assert!(permits("10.0.0.7", "10.0.0.7", 9));
        assert!(!permits("10.0.0.8", "10.0.0.8", 9));
        assert!(permits("x", "fd01:2::3", 1));
        assert!(permits("xn--bcher-kva.example", "127.0.0.1", 80));
        assert!(permits("anywhere.example", "1.1.1.1", 80), "as ever");
        let none = OutboundAllow::parse("").unwrap();
        assert!(!none.permits("localhost", "127.0.0.1".parse().unwrap(), 80));
        let all = OutboundAllow::parse("0.0.0.0/0,::/0").unwrap();
        assert!(all.permits("localhost", "127.0.0.1".parse().unwrap(), 80));
        assert!(all.permits("localhost", "::1".parse().unwrap(), 80));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_says_which_entry() {
        for text in [
            "http://nas.lan",
            "nas.lan/24",
            "10.0.0.0/33",
            "fd00::/129",
            "192.168.1",
            "192.168.1.999",
            "nas.lan:0",
            "nas.lan:99999",
            "nas.lan:http",
            "[fd00::1",
            "fd00::g",
            "*.lan",
            "user@nas.lan",
            ".",
        ] {
            let error = OutboundAllow::parse(&format!("ok.example,{text}"));
            let error = error.expect_err(text);
            assert!(error.starts_with("entry 2: "), "{text}: {error}");
        }
    }
}
