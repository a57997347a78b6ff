//! Which `Host` and `Origin` the listener answers to: a page in a browser must not read it by a name that it has
//! pointed here (DNS rebinding), nor from another origin.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// Whether a request with `headers` and the authority of its target `target`, if any, is meant for a listener on
/// `address`.
pub(super) fn is_ours(address: SocketAddr, headers: &HeaderMap, target: Option<&str>) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|value| value.to_str().unwrap_or_default());
    let single = hosts.next().is_none();
    let named = target.or(host);
    let origin = headers.get(ORIGIN).map(|value| value.to_str().unwrap_or_default());
    let origin_is_ours = origin.is_none_or(|origin| {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| Some(authority) == named)
    });
    single && named.is_some_and(|named| is_name_of(address, named)) && origin_is_ours
}

fn is_name_of(address: SocketAddr, authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.parse::<IpAddr>() {
        // A browser cannot be made to believe that an address is another one: only names can be rebound.
        Ok(ip) => ip.is_loopback() || ip == address.ip() || address.ip().is_unspecified(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(address: &str, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        is_ours(address.parse().unwrap(), &headers, None)
    }

    #[test]
    fn loopback_names_and_the_own_address_are_ours() {
        for host in ["localhost:8081", "127.0.0.1:8081", "[::1]:8081", "LOCALHOST", "127.0.0.1"] {
            assert!(asked("127.0.0.1:8081", host, None), "{host}");
        }
        assert!(asked("10.0.0.5:8081", "10.0.0.5:8081", None));
        assert!(asked("0.0.0.0:8081", "192.168.1.7:8081", None));
        assert!(asked("127.0.0.1:8081", "localhost:8081", Some("http://localhost:8081")));
    }

    #[test]
    fn other_names_and_foreign_origins_are_not() {
        for host in ["evil.example:8081", "localhost.evil.example", "10.0.0.9", "", "127.0.0.1.nip.io"] {
            assert!(!asked("127.0.0.1:8081", host, None), "{host}");
        }
        assert!(!asked("127.0.0.1:8081", "127.0.0.1:8081", Some("http://evil.example")));
        assert!(!asked("127.0.0.1:8081", "127.0.0.1:8081", Some("null")));
        assert!(!is_ours("127.0.0.1:8081".parse().unwrap(), &HeaderMap::new(), None));
    }
}
