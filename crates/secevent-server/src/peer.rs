//! Who is at the other end, if a proxy that we trust says so.

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Who sent a request: an extension of each request that comes through [`serve`](crate::serve). For logs and limits,
/// never a proof of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The one that is connected, or the one for whom a proxy in these networks asks.
    ///
    /// Everybody can write such headers. So they are read from their end, where our own proxies have written, and
    /// no further than to the first address that is none of ours: what stands before it is its own tale.
    pub(crate) fn of(connected: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let connected = connected.to_canonical();
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        if !is_trusted(connected) {
            return Self(connected);
        }
        let mut nearest = connected;
        for told in hops(headers).into_iter().rev() {
            let Some(address) = told else { break };
            nearest = address;
            if !is_trusted(address) {
                break;
            }
        }
        Self(nearest)
    }
}

/// The addresses that the headers tell, the farthest first. None is one that is hidden or makes no sense.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let of = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
        values.flat_map(|value| value.split(',')).map(|one| one.trim().to_owned()).collect()
    };
    // The standard's header wins (RFC 7239). Its values hold no commas that matter here: addresses have none.
    let forwarded = of(FORWARDED.as_str());
    match forwarded.is_empty() {
        true => of("x-forwarded-for").iter().map(|one| address(one)).collect(),
        false => forwarded.iter().map(|one| address(forwarded_for(one)?)).collect(),
    }
}

/// The value of `for` in one element.
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    named.next().map(|(_, value)| value.trim().trim_matches('"'))
}

/// An address, with or without a port, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_believed_as_far_as_they_are_ours() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (connected, header, value, expected) in [
            ("192.0.2.1", "x-forwarded-for", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "x-other", "198.51.100.7", "10.0.0.1"),
            ("10.0.0.1", "x-forwarded-for", "198.51.100.7", "198.51.100.7"),
            ("::ffff:10.0.0.1", "x-forwarded-for", "198.51.100.7:99", "198.51.100.7"),
            // What a client writes itself is not believed.
            ("10.0.0.1", "x-forwarded-for", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "x-forwarded-for", "203.0.113.9, nonsense, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "x-forwarded-for", "10.0.0.3", "10.0.0.3"),
            ("fd00::1", "forwarded", "for=198.51.100.7;proto=https", "198.51.100.7"),
            ("10.0.0.1", "forwarded", "for=\"[2001:db8::7]:4711\", For=10.0.0.2", "2001:db8::7"),
            ("10.0.0.1", "forwarded", "for=203.0.113.9, for=unknown", "10.0.0.1"),
            ("10.0.0.1", "forwarded", "proto=https", "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header, value.parse().unwrap());
            let told = Peer::of(connected.parse().unwrap(), &headers, &trusted);
            assert_eq!(told, Peer(expected.parse().unwrap()), "{connected} {header}: {value}");
        }
        let mut both = HeaderMap::new();
        both.append("x-forwarded-for", "203.0.113.9".parse().unwrap());
        both.append("x-forwarded-for", "198.51.100.7".parse().unwrap());
        let told = Peer::of("10.0.0.1".parse().unwrap(), &both, &trusted);
        assert_eq!(told, Peer("198.51.100.7".parse().unwrap()), "several lines are one list");
    }
}
