//! Which addresses we talk to: a pure function of the address, asked at connect time.
//!
//! Whoever may create a stream tells us where to send its events, so the URL is foreign input and the classic way
//! into a private network (server-side request forgery). Names and spellings prove nothing; the address that is
//! about to be connected to is the only thing worth looking at, and this is where it is looked at.

use crate::destination::{Destination, Host};
use http::Uri;
use ipnet::IpNet;
use secevent_ssf::{TransportError, UrlRefused};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Decides whether an address may be connected to.
///
/// In this order:
///
/// 1. Our own listeners are refused, whatever else is configured: a stream that delivers to our own admin
///    listener would act with the server's place in the network.
/// 2. The port must be listed, inside `allow_networks` too: a network that is allowed for its receivers also holds
///    databases and caches.
/// 3. The addresses at which clouds hand credentials to a machine are refused, unless a network of exactly that one
///    address is allowed. Allowing `169.254.0.0/16` does not open them.
/// 4. Addresses inside `allow_networks` are admitted.
/// 5. Everything else must be global unicast by the IANA special-purpose registries of IPv4 and IPv6. An IPv6 address
///    that stands for an IPv4 one is judged by the IPv4 address when it is mapped (`::ffff:0:0/96`) or
///    translated by the well-known NAT64 prefix (`64:ff9b::/96`); 6to4, Teredo, IPv4-compatible addresses and
///    the local NAT64 prefix are refused as they are.
///
/// ```
/// use secevent_http::AddressGuard;
///
/// let guard = AddressGuard::default();
/// assert!(guard.check("8.8.8.8:443".parse().unwrap()).is_ok());
/// let refusal = guard.check("[64:ff9b::7f00:1]:443".parse().unwrap()).unwrap_err();
/// assert_eq!(refusal.to_string(), "[64:ff9b::7f00:1]:443 is not global unicast (loopback)");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressGuard {
    /// Exceptions: networks admitted although they are not global unicast. Default: none.
    pub allow_networks: Vec<IpNet>,
    /// The ports that may be connected to. Default: 443.
    pub ports: Ports,
    /// Where this process listens. The unspecified address (`0.0.0.0`, `::`) stands for every address of this
    /// machine.
    pub own_listeners: Vec<SocketAddr>,
}

impl AddressGuard {
    /// May `address` be connected to?
    pub fn check(&self, address: SocketAddr) -> Result<(), Refusal> {
        let refuse = |reason| Err(Refusal { address, reason });
        let ip = address.ip().to_canonical();
        let port = address.port();

        let meant = translated(ip).map_or(ip, IpAddr::V4);

        if self.own_listeners.iter().any(|own| is_own(*own, meant, port)) {
            return refuse(RefusalReason::OwnListener);
        }
        if !self.ports.admits(port) {
            return refuse(RefusalReason::Port);
        }
        let alone = METADATA_SERVICES.contains(&meant);
        let admitted = |network: &IpNet| {
            network.contains(&ip) && (!alone || network.prefix_len() == network.max_prefix_len())
        };
        if self.allow_networks.iter().any(admitted) {
            return Ok(());
        }
        if alone {
            return refuse(RefusalReason::MetadataService);
        }
        match special_purpose(meant) {
            None => Ok(()),
            Some(purpose) => refuse(RefusalReason::NotGlobal(purpose)),
        }
    }

    /// May a URL be asked for, as far as it alone decides that? A name may resolve to anything, but for `localhost` (RFC
    /// 6761, section 6.3); of an address all is known.
    pub(crate) fn check_url(&self, url: &Uri, allow_plain_http: bool) -> Result<(), UrlRefused> {
        let refuse = |why: &dyn fmt::Display| Err(UrlRefused(why.to_string()));
        let destination = match Destination::of(url, allow_plain_http) {
            Ok(destination) => destination,
            Err(TransportError::AddressRefused(reason)) => return refuse(&reason),
            Err(error) => return refuse(&error),
        };
        let at = |ip: IpAddr| self.check(SocketAddr::new(ip, destination.port));
        let checked = match &destination.host {
            Host::Address(ip) => at(*ip),
            Host::Name(name) if is_localhost(name) => {
                at(Ipv4Addr::LOCALHOST.into()).or_else(|_| at(Ipv6Addr::LOCALHOST.into()))
            }
            Host::Name(_) if self.ports.admits(destination.port) => Ok(()),
            Host::Name(_) => return refuse(&format_args!("{destination} {}", RefusalReason::Port)),
        };
        checked.or_else(|refusal| refuse(&refusal))
    }

    /// Has a connection that was just made turned out to lead to ourselves?
    ///
    /// A listener on the unspecified address listens on every address of this machine, and which those are is
    /// not known in advance. A connection to one of them shows: both of its ends have the same address.
    pub fn check_connected(&self, local: SocketAddr, peer: SocketAddr) -> Result<(), Refusal> {
        let same_machine = local.ip().to_canonical() == peer.ip().to_canonical();
        let own = |own: &SocketAddr| own.ip().to_canonical().is_unspecified() && own.port() == peer.port();
        if same_machine && self.own_listeners.iter().any(own) {
            return Err(Refusal { address: peer, reason: RefusalReason::OwnListener });
        }
        Ok(())
    }
}

/// The ports that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ports {
    /// These and no others.
    Only(BTreeSet<u16>),
    /// Every port. For development, where receivers listen on whatever port was free.
    Any,
}

impl Ports {
    /// May this port be connected to? Port 0 names none, so never.
    pub fn admits(&self, port: u16) -> bool {
        match self {
            Self::Only(ports) => port != 0 && ports.contains(&port),
            Self::Any => port != 0,
        }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::Only(BTreeSet::from([443]))
    }
}

/// An address that may not be connected to, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} {reason}")]
pub struct Refusal {
    /// The address as it was given.
    pub address: SocketAddr,
    /// Why it is refused.
    pub reason: RefusalReason,
}

/// Why an address may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// We listen there ourselves.
    OwnListener,
    /// The port is not among the allowed ones.
    Port,
    /// A cloud's metadata service, which gives credentials to whoever asks.
    MetadataService,
    /// Not global unicast; the text is the purpose the registries give.
    NotGlobal(&'static str),
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnListener => f.write_str("is one of our own listeners"),
            Self::Port => f.write_str("has a port that is not allowed"),
            Self::MetadataService => f.write_str("is a cloud's metadata service"),
            Self::NotGlobal(purpose) => write!(f, "is not global unicast ({purpose})"),
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

fn is_own(own: SocketAddr, ip: IpAddr, port: u16) -> bool {
    let own_ip = own.ip().to_canonical();
    let everywhere = own_ip.is_unspecified() && (ip.is_loopback() || ip.is_unspecified());
    // Connecting to the unspecified address reaches a listener on loopback.
    let by_unspecified = ip.is_unspecified() && own_ip.is_loopback();
    own.port() == port && (own_ip == ip || everywhere || by_unspecified)
}

/// The IPv4 address that a NAT64 gateway makes of `ip`, if it has the well-known prefix.
fn translated(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let [.., a, b, c, d] = ip.octets();
    (u128::from(ip) >> 32 == NAT64_WELL_KNOWN).then_some(Ipv4Addr::new(a, b, c, d))
}

/// The purpose that keeps `ip` from being global unicast, if there is one.
fn special_purpose(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => special_purpose_v4(ip),
        IpAddr::V6(ip) => special_purpose_v6(ip),
    }
}

fn special_purpose_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(ip);
    let inside = |(base, length, _): &&([u8; 4], u32, &str)| {
        (bits ^ u32::from_be_bytes(*base)).checked_shr(32 - length).unwrap_or(0) == 0
    };
    SPECIAL_V4.iter().find(inside).map(|(_, _, purpose)| *purpose)
}

fn special_purpose_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let bits = u128::from(ip);
    let inside = |(base, length, _): &&([u16; 8], u32, &str)| {
        (bits ^ u128::from(Ipv6Addr::from(*base))).checked_shr(128 - length).unwrap_or(0) == 0
    };
    if let Some((_, _, purpose)) = SPECIAL_V6.iter().find(inside) {
        return Some(purpose);
    }
    // IANA gives out global unicast from 2000::/3 only; the rest of the space is reserved.
    (bits >> 125 != 0b001).then_some("outside 2000::/3")
}

/// `64:ff9b::/96` (RFC 6052): a network without IPv4 reaches IPv4 hosts through it.
const NAT64_WELL_KNOWN: u128 = 0x0064_ff9b_0000_0000_0000_0000;

/// Addresses at which clouds answer questions about the machine that asks. Most lie in networks that are refused
/// anyway; one does not.
const METADATA_SERVICES: [IpAddr; 8] = [
    // AWS, Azure, Google, DigitalOcean and others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS: credentials of container tasks, and of pods.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Alibaba.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Azure's "wire server" looks like any public address and is answered by the host machine.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // AWS and Google over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// The IANA IPv4 special-purpose registry, rows that are not globally reachable, and the multicast space.
const SPECIAL_V4: [([u8; 4], u32, &str); 16] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private use"),
    ([100, 64, 0, 0], 10, "shared address space"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link local"),
    ([172, 16, 0, 0], 12, "private use"),
    ([192, 0, 0, 0], 24, "IETF protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relay anycast"),
    ([192, 168, 0, 0], 16, "private use"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "limited broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// The IANA IPv6 special-purpose registry. What is not listed here is refused unless it lies in `2000::/3`; the rows
/// outside of it are here for their names. Of `2001::/23` some rows are globally reachable, and none is a web server.
const SPECIAL_V6: [([u16; 8], u32, &str); 20] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped"),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64 prefix"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only"),
    ([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking"),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID"),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF protocol assignments"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(ip: &str) -> Option<&'static str> {
        let ip = ip.parse::<IpAddr>().unwrap().to_canonical();
        special_purpose(translated(ip).map_or(ip, IpAddr::V4))
    }

    #[test]
    fn the_edges_of_every_ipv4_block() {
        let cases = [
            ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
            ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
            ("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None),
        ];
        for (first, last, before, after) in cases {
            assert!(purpose(first).is_some(), "{first}");
            assert!(purpose(last).is_some(), "{last}");
            for ip in [before, after].into_iter().flatten() {
                assert_eq!(purpose(ip), None, "{ip}");
                // The same address seen through the NAT64 prefix and as a mapped one.
                assert_eq!(purpose(&format!("64:ff9b::{ip}")), None, "{ip}");
                assert_eq!(purpose(&format!("::ffff:{ip}")), None, "{ip}");
            }
            for ip in [first, last] {
                assert_eq!(purpose(&format!("64:ff9b::{ip}")), purpose(ip), "{ip}");
                assert_eq!(purpose(&format!("::ffff:{ip}")), purpose(ip), "{ip}");
            }
        }
    }

    #[test]
    fn the_purposes_of_ipv6_blocks() {
        let cases = [
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::8.8.8.8", Some("IPv4-compatible")),
            ("::ffff:0:8.8.8.8", Some("IPv4-translated")),
            ("64:ff9b::8.8.8.8", None),
            ("64:ff9b:0:0:0:1::", Some("outside 2000::/3")),
            ("64:ff9b:1::8.8.8.8", Some("local NAT64 prefix")),
            ("100::1", Some("discard only")),
            ("100:0:0:1::1", Some("dummy prefix")),
            ("1fff:ffff::", Some("outside 2000::/3")),
            ("2000::", None),
            ("2001::1", Some("Teredo")),
            ("2001:2::1", Some("benchmarking")),
            ("2001:10::1", Some("ORCHID")),
            ("2001:2f:ffff::1", Some("ORCHIDv2")),
            ("2001:1ff:ffff::", Some("IETF protocol assignments")),
            ("2001:200::", None),
            ("2001:db8::1", Some("documentation")),
            ("2001:db9::", None),
            ("2002:808:808::1", Some("6to4")),
            ("2003::1", None),
            ("2606:4700::1111", None),
            ("3fff:fff:ffff::", Some("documentation")),
            ("3fff:1000::", None),
            ("4000::", Some("outside 2000::/3")),
            ("5f00::1", Some("outside 2000::/3")),
            ("fc00::1", Some("unique local")),
            ("fdff::1", Some("unique local")),
            ("fe80::1", Some("link local")),
            ("febf::1", Some("link local")),
            ("fec0::1", Some("site local")),
            ("ff02::1", Some("multicast")),
        ];
        for (ip, expected) in cases {
            assert_eq!(purpose(ip), expected, "{ip}");
        }
    }

    #[test]
    fn listeners_ports_metadata_and_exceptions() {
        let guard = AddressGuard {
            allow_networks: ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fd00::/8", "168.63.129.16/32"]
                .map(|network| network.parse().unwrap())
                .to_vec(),
            ports: Ports::Only(BTreeSet::from([443, 8443, 9000])),
            own_listeners: ["10.0.0.5:8443", "[::]:9000", "127.0.0.1:8443"]
                .map(|own| own.parse().unwrap())
                .to_vec(),
        };
        let cases = [
            ("10.0.0.4:8443", None),
            ("10.0.0.5:443", None),
            ("10.0.0.5:8443", Some(RefusalReason::OwnListener)),
            ("[::ffff:10.0.0.5]:8443", Some(RefusalReason::OwnListener)),
            ("[::ffff:10.0.0.4]:8443", None),
            ("127.0.0.1:443", None),
            ("127.9.9.9:9000", Some(RefusalReason::OwnListener)),
            ("[::1]:9000", Some(RefusalReason::OwnListener)),
            ("0.0.0.0:8443", Some(RefusalReason::OwnListener)),
            ("[::]:8443", Some(RefusalReason::OwnListener)),
            ("10.0.0.4:6379", Some(RefusalReason::Port)),
            ("8.8.8.8:22", Some(RefusalReason::Port)),
            ("8.8.8.8:0", Some(RefusalReason::Port)),
            ("169.254.1.1:443", None),
            ("169.254.169.254:443", Some(RefusalReason::MetadataService)),
            ("[::ffff:169.254.169.254]:443", Some(RefusalReason::MetadataService)),
            ("[fd00:ec2::254]:443", Some(RefusalReason::MetadataService)),
            ("168.63.129.16:443", None),
            ("[64:ff9b::169.254.170.2]:443", Some(RefusalReason::MetadataService)),
            ("[64:ff9b::10.0.0.5]:8443", Some(RefusalReason::OwnListener)),
            ("192.168.0.1:443", Some(RefusalReason::NotGlobal("private use"))),
            // An exception is for the network it names, not for what a gateway may turn into it.
            ("[64:ff9b::10.0.0.4]:443", Some(RefusalReason::NotGlobal("private use"))),
        ];
        for (address, expected) in cases {
            let refusal = guard.check(address.parse().unwrap()).err();
            assert_eq!(refusal.map(|refusal| refusal.reason), expected, "{address}");
        }
    }

    #[test]
    fn a_connection_whose_two_ends_are_one_machine() {
        let guard =
            AddressGuard { own_listeners: vec!["0.0.0.0:443".parse().unwrap()], ..Default::default() };
        let check =
            |local: &str, peer: &str| guard.check_connected(local.parse().unwrap(), peer.parse().unwrap());
        assert!(check("8.8.8.8:50000", "8.8.8.8:443").is_err());
        assert!(check("8.8.8.8:50000", "8.8.8.8:8443").is_ok());
        assert!(check("8.8.8.8:50000", "8.8.4.4:443").is_ok());
    }
}
