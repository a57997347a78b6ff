//! The first layer behind HTTP: a head that is too large, contradictory, or meant for another place goes no
//! further. The decision is pure ([`Rules`]); the layer only carries it out.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::TryFutureExt;
use futures_util::future::Either;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, ORIGIN, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, Uri, Version};
use tower::{Layer, Service};

use super::body::Body;
use super::cors;
use super::host::Places;
use super::metrics::Metrics;
use super::refusal::refusal;
use crate::config::{Limits, Public};
use crate::outcome::Reason;

/// Makes [`Door`]s.
#[derive(Clone, Debug)]
pub struct DoorLayer {
    rules: Arc<Rules>,
    metrics: Metrics,
}

impl DoorLayer {
    /// The door of the public listener, which is bound to `bound`.
    pub fn public(public: &Public, bound: SocketAddr, limits: &Limits, metrics: Metrics) -> Self {
        Self { rules: Arc::new(Rules::new(Places::new(bound, Some(public)), limits)), metrics }
    }

    /// The door of the admin listener: its own address and loopback names only.
    pub fn admin(bound: SocketAddr, limits: &Limits, metrics: Metrics) -> Self {
        Self { rules: Arc::new(Rules::new(Places::new(bound, None), limits)), metrics }
    }
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door { inner, rules: Arc::clone(&self.rules), metrics: self.metrics.clone() }
    }
}

/// Refuses by [`Reason`] what the listener's rules do not let in.
#[derive(Clone, Debug)]
pub struct Door<S> {
    inner: S,
    rules: Arc<Rules>,
    metrics: Metrics,
}

type Answer = Result<Response<Body>, Infallible>;

impl<S, B> Service<Request<B>> for Door<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    /// Answered here; or by the inner service, whose answer a browser has to be told more about, or not.
    type Future = Either<Ready<Answer>, Either<Pin<Box<dyn Future<Output = Answer> + Send>>, S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Err(Refused { reason, message }) = self.rules.check(&request) {
            self.metrics.refused(reason);
            return Either::Left(ready(Ok(refusal(reason, message))));
        }
        let Some(origin) = request.headers().get(ORIGIN).cloned() else {
            return Either::Right(Either::Right(self.inner.call(request)));
        };
        if let Some(answer) = cors::preflight(&request) {
            return Either::Left(ready(Ok(answer)));
        }
        let answer = self.inner.call(request).map_ok(|mut response| {
            cors::allow(response.headers_mut(), origin);
            response
        });
        Either::Right(Either::Left(Box::pin(answer)))
    }
}

/// What a head has to be.
#[derive(Debug)]
struct Rules {
    places: Places,
    header_count: usize,
    target_bytes: usize,
}

/// Why a head is refused, and how that is put to the client.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    reason: Reason,
    message: &'static str,
}

fn refused(reason: Reason, message: &'static str) -> Result<(), Refused> {
    Err(Refused { reason, message })
}

impl Rules {
    fn new(places: Places, limits: &Limits) -> Self {
        Self { places, header_count: limits.header_count, target_bytes: limits.target_bytes }
    }

    /// The cheap and general rules first; who is meant comes before what is asked.
    fn check<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        self.check_form(request.version(), request.method(), request.uri())?;
        self.check_headers(request.headers())?;
        self.check_host(request)?;
        self.check_origin(request.headers())
    }

    fn check_form(&self, version: Version, method: &Method, uri: &Uri) -> Result<(), Refused> {
        if version < Version::HTTP_11 {
            return refused(Reason::BadHttp, "HTTP/1.0 is not spoken here; use HTTP/1.1 or HTTP/2.");
        }
        if *method == Method::CONNECT {
            return refused(Reason::MethodNotAllowed, "CONNECT is for forward proxies.");
        }
        if target_length(uri) > self.target_bytes {
            return refused(Reason::HeadTooLarge, "The request target is too long.");
        }
        Ok(())
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Refused> {
        if headers.len() > self.header_count {
            return refused(Reason::HeadTooLarge, "Too many headers.");
        }
        // Some programs behind gateways read `-` and `_` as the same: a second spelling of a checked name.
        if headers.keys().any(|name| memchr::memchr(b'_', name.as_str().as_bytes()).is_some()) {
            return refused(Reason::BadHttp, "Header names with `_` are refused; write `-`.");
        }
        // hyper settles the framing; what it leaves visible of a second opinion is refused.
        let encoding = headers.get(TRANSFER_ENCODING);
        if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"))
            || headers.get_all(TRANSFER_ENCODING).iter().nth(1).is_some()
        {
            return refused(Reason::BadHttp, "The only transfer encoding is `chunked`.");
        }
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        let length = lengths.next();
        if lengths.next().is_some() || (length.is_some() && encoding.is_some()) {
            return refused(Reason::BadHttp, "More than one header says how long the body is.");
        }
        if length.is_some_and(|value| !value.as_bytes().iter().all(u8::is_ascii_digit)) {
            return refused(Reason::BadHttp, "Content-Length is no number.");
        }
        Ok(())
    }

    /// The host is the target's when it names one (always on HTTP/2), else the header's; both must agree.
    fn check_host<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (header, second) = (hosts.next(), hosts.next());
        if second.is_some() || (header.is_none() && request.version() == Version::HTTP_11) {
            return refused(Reason::BadHttp, "Exactly one Host header is required.");
        }
        if request.uri().authority().is_none()
            && header.is_some_and(|value| self.places.is_usual(value.as_bytes()))
        {
            return Ok(());
        }
        let parsed: Option<Authority> = match header.map(|value| Authority::try_from(value.as_bytes())) {
            Some(Err(_)) => return refused(Reason::BadHttp, "The Host header is no host."),
            Some(Ok(authority)) => Some(authority),
            None => None,
        };
        let known = match (request.uri().authority(), &parsed) {
            (Some(target), Some(header)) if target != header => {
                return refused(Reason::BadHttp, "The Host header contradicts the request target.");
            }
            (Some(named), _) | (None, Some(named)) => self.places.knows_host(named),
            (None, None) => false,
        };
        if known {
            Ok(())
        } else {
            refused(Reason::HostRefused, "Host names another place; see public.hosts.")
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let known = |value: &hyper::header::HeaderValue| {
            value.to_str().is_ok_and(|origin| self.places.knows_origin(origin))
        };
        if headers.get_all(ORIGIN).iter().all(known) {
            return Ok(());
        }
        refused(Reason::OriginRefused, "Pages of this origin may not call; see public.origins.")
    }
}

fn target_length(uri: &Uri) -> usize {
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    authority + uri.path_and_query().map_or(0, |target| target.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::new(Places::new("127.0.0.1:8080".parse().unwrap(), None), &Limits::default())
    }

    fn check(target: &str, headers: &[(&str, &str)]) -> Result<(), Reason> {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        rules().check(&request.body(()).unwrap()).map_err(|refused| refused.reason)
    }

    const HOST: (&str, &str) = ("host", "localhost");

    #[test]
    fn an_ordinary_head_passes() {
        assert_eq!(check("/mcp?x=1", &[HOST, ("content-length", "3")]), Ok(()));
        assert_eq!(check("http://localhost/mcp", &[HOST]), Ok(()));
        assert_eq!(check("/mcp", &[("host", "127.0.0.1:8080")]), Ok(()));
        assert_eq!(check("/mcp", &[("host", "127.0.0.1:9999")]), Ok(()));
    }

    #[test]
    fn limits_hold_at_n_and_break_at_n_and_one() {
        let limits = Limits::default();
        let target = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert_eq!(check(&target(limits.target_bytes), &[HOST]), Ok(()));
        assert_eq!(check(&target(limits.target_bytes + 1), &[HOST]), Err(Reason::HeadTooLarge));
        let names: Vec<String> = (0..limits.header_count).map(|index| format!("x-{index}")).collect();
        let mut headers = vec![HOST];
        headers.extend(names.iter().map(|name| (name.as_str(), "1")));
        assert_eq!(check("/", &headers), Err(Reason::HeadTooLarge));
        headers.pop();
        assert_eq!(check("/", &headers), Ok(()));
    }

    #[test]
    fn contradictions_are_refused() {
        for headers in [
            &[][..],
            &[HOST, HOST],
            &[("host", "a b")],
            &[("host", "localhost/health?")],
            &[("host", "")],
            &[HOST, ("x_api_key", "k")],
            &[HOST, ("content-length", "1"), ("content-length", "1")],
            &[HOST, ("content-length", "+1")],
            &[HOST, ("content-length", "1"), ("transfer-encoding", "chunked")],
            &[HOST, ("transfer-encoding", "gzip, chunked")],
            &[HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert_eq!(check("/", headers), Err(Reason::BadHttp), "{headers:?}");
        }
        assert_eq!(check("http://127.0.0.1/", &[HOST]), Err(Reason::BadHttp));
    }

    #[test]
    fn other_places_and_foreign_pages_are_refused() {
        assert_eq!(check("/", &[("host", "evil.example")]), Err(Reason::HostRefused));
        assert_eq!(check("http://evil.example/", &[("host", "evil.example")]), Err(Reason::HostRefused));
        assert_eq!(check("/", &[HOST, ("origin", "https://evil.example")]), Err(Reason::OriginRefused));
        assert_eq!(check("/", &[HOST, ("origin", "http://localhost:5173")]), Ok(()));
        let two = [HOST, ("origin", "http://localhost"), ("origin", "https://evil.example")];
        assert_eq!(check("/", &two), Err(Reason::OriginRefused));
    }

    #[test]
    fn old_versions_and_tunnels_are_refused() {
        let mut request = Request::builder().header("host", "localhost").version(Version::HTTP_10);
        request = request.uri("/");
        let refused = rules().check(&request.body(()).unwrap()).unwrap_err();
        assert_eq!(refused.reason, Reason::BadHttp);
        let request = Request::connect("localhost:80").header("host", "localhost:80").body(()).unwrap();
        assert_eq!(rules().check(&request).unwrap_err().reason, Reason::MethodNotAllowed);
    }
}
