//! Which `Host` and `Origin` this listener answers to: the guard against DNS rebinding and foreign pages.
//! A rebinding page reaches us under a *name* of its own, never under our address.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use hyper::http::uri::Authority;

use crate::config::Public;

/// The places that a request may name.
#[derive(Clone, Debug)]
pub(super) struct Places {
    bound: SocketAddr,
    /// What most clients write: `bound` itself. Known without being parsed.
    usual: String,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Places {
    pub(super) fn new(bound: SocketAddr, public: Option<&Public>) -> Self {
        let (mut hosts, mut origins) = (Vec::new(), Vec::new());
        if let Some(public) = public {
            let url: Option<Uri> = public.url.as_deref().and_then(|url| url.parse().ok());
            hosts.extend(url.as_ref().and_then(Uri::host).map(str::to_ascii_lowercase));
            hosts.extend(public.hosts.iter().cloned());
            origins.extend(public.origins.iter().cloned());
        }
        Self { bound, usual: bound.to_string(), hosts, origins }
    }

    /// Whether this `Host` is the listener's address as it is written mostly.
    pub(super) fn is_usual(&self, host: &[u8]) -> bool {
        !self.bound.ip().is_unspecified() && host == self.usual.as_bytes()
    }

    /// Whether `authority` (the `Host`, or HTTP/2's `:authority`) names this listener. The port does not
    /// count: a forwarded port differs, and a name is what an attacker has.
    pub(super) fn knows_host(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host();
        self.is_own_name(host) || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Whether a page of `origin` may call: one that is configured, or a local one of a local listener.
    pub(super) fn knows_origin(&self, origin: &str) -> bool {
        if self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let uri: Option<Uri> = origin.parse().ok();
        self.bound.ip().is_loopback()
            && uri.is_some_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(is_loopback_name)
            })
    }

    fn is_own_name(&self, host: &str) -> bool {
        let listener = self.bound.ip();
        let local = listener.is_loopback() || listener.is_unspecified();
        (local && is_loopback_name(host))
            || address(host).is_some_and(|named| named == listener || listener.is_unspecified())
    }
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// The address that `host` is, in brackets when it is IPv6.
fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(bound: &str, hosts: &[&str], origins: &[&str]) -> Places {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let bound: SocketAddr = bound.parse().unwrap();
        Places { hosts: own(hosts), origins: own(origins), ..Places::new(bound, None) }
    }

    #[test]
    fn hosts() {
        let local = places("127.0.0.1:8080", &["gateway.example"], &[]);
        let lan = places("192.0.2.7:80", &[], &[]);
        let any = places("0.0.0.0:80", &[], &[]);
        for (places, host, known) in [
            (&local, "127.0.0.1:8080", true),
            (&local, "127.0.0.1", true),
            (&local, "localhost:9999", true),
            (&local, "LocalHost", true),
            (&local, "[::1]:1", true),
            (&local, "gateway.EXAMPLE:443", true),
            (&local, "evil.example", false),
            (&local, "localhost.evil.example", false),
            (&local, "localhost.", false),
            (&local, "127.0.0.1.nip.io", false),
            (&local, "192.0.2.7", false),
            (&local, "user@localhost", false),
            (&lan, "192.0.2.7:8443", true),
            (&lan, "localhost", false),
            (&any, "198.51.100.1:80", true),
            (&any, "localhost", true),
            (&any, "kamf", false),
        ] {
            assert_eq!(places.knows_host(&host.parse().unwrap()), known, "{host}");
        }
    }

    #[test]
    fn origins() {
        let local = places("127.0.0.1:8080", &[], &["https://app.example"]);
        let lan = places("0.0.0.0:80", &[], &["https://app.example"]);
        for (places, origin, known) in [
            (&local, "https://app.example", true),
            (&local, "https://APP.example", true),
            (&local, "https://app.example:8443", false),
            (&local, "http://app.example", false),
            (&local, "http://localhost:3000", true),
            (&local, "https://[::1]:3000", true),
            (&local, "http://localhost.evil.example", false),
            (&local, "file://localhost", false),
            (&local, "null", false),
            (&local, "", false),
            (&lan, "http://localhost:3000", false),
            (&lan, "https://app.example", true),
        ] {
            assert_eq!(places.knows_origin(origin), known, "{origin}");
        }
    }
}
