//! `public` and `admin`: the two listeners.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hyper::Uri;

use super::reader::{Field, Group};

/// The listener that agents and clients use.
#[derive(Clone, Debug)]
pub struct Public {
    /// 127.0.0.1:8080 unless set; port 0 lets the kernel pick.
    pub listen: SocketAddr,
    /// The base URL that clients use, without a trailing slash; `http(s)://<listen>` unless set. Cards carry it.
    pub url: Option<String>,
    pub tls: Option<Tls>,
    /// Hosts (without port, lower case) that a request may name besides the listener's own and loopback names.
    pub hosts: Vec<String>,
    /// Browser origins that may call, lower case; none by default.
    pub origins: Vec<String>,
}

impl Default for Public {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            url: None,
            tls: None,
            hosts: Vec::new(),
            origins: Vec::new(),
        }
    }
}

impl Public {
    /// The base URL that clients use, when the listener is bound to `bound`.
    pub fn base_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.url.clone().unwrap_or_else(|| format!("{scheme}://{bound}"))
    }
}

/// Certificate chain and key, PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The second listener: metrics, health, API.
#[derive(Clone, Debug)]
pub struct Admin {
    /// 127.0.0.1:8081 unless set.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)) }
    }
}

pub(super) fn read_public(group: &mut Group<'_>) -> Public {
    let mut public = Public::default();
    group.set("listen", &mut public.listen, Field::address);
    group.set("url", &mut public.url, |field| {
        field.url().map(|url| Some(url.trim_end_matches('/').to_owned()))
    });
    group.set("tls", &mut public.tls, |field| field.group(read_tls).map(Some));
    group.set("hosts", &mut public.hosts, |field| Some(field.items().iter().filter_map(host).collect()));
    group
        .set("origins", &mut public.origins, |field| Some(field.items().iter().filter_map(origin).collect()));
    public
}

pub(super) fn read_admin(group: &mut Group<'_>) -> Admin {
    let mut admin = Admin::default();
    group.set("listen", &mut admin.listen, Field::address);
    admin
}

fn read_tls(group: &mut Group<'_>) -> Option<Tls> {
    let certificate = group.require("certificate").and_then(|field| field.file());
    let key = group.require("key").and_then(|field| field.file());
    Some(Tls { certificate: certificate?, key: key? })
}

fn host(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    let authority: Option<hyper::http::uri::Authority> = text.parse().ok();
    if authority.is_some_and(|authority| authority.host() == text) {
        return Some(text.to_ascii_lowercase());
    }
    field.refuse(format!("`{text}` is no host; write the name alone, without scheme and port"));
    None
}

fn origin(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    let uri: Option<Uri> = text.parse().ok();
    let bare = |uri: Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && uri.query().is_none()
    };
    if uri.is_some_and(bare) && !text.ends_with('/') && !text.contains('@') {
        return Some(text.to_ascii_lowercase());
    }
    field.refuse(format!("`{text}` is no origin; write scheme, host and port, as in https://app.example"));
    None
}
