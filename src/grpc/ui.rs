//! The address of the page: answers the page, and to the page the service over grpc-web, which passes
//! the same gate as elsewhere. Lets no other page call, and refuses all else; what the page holds it
//! does not know.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderValue, InvalidHeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tonic::body::Body;
use tower_http::cors::{Cors, CorsLayer};
use tower_layer::Layer;
use tower_service::Service;

use super::listener::{Door, Origin};
use super::server::SERVICE;

/// What every answer from here tells a browser, besides the page's own policy: guess no types, tell
/// nobody where one came from, stand in no frame, share nothing with other sites.
const HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// A page and what it may do.
#[derive(Clone, Debug)]
pub struct Page {
    html: Arc<str>,
    policy: HeaderValue,
}

impl Page {
    /// HTML, and its `Content-Security-Policy`.
    ///
    /// # Errors
    ///
    /// When the policy cannot stand in a header.
    pub fn new(html: String, policy: &str) -> Result<Self, InvalidHeaderValue> {
        Ok(Self {
            html: html.into(),
            policy: HeaderValue::try_from(policy)?,
        })
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::new(self.html.to_string()));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}

/// Tells the doors apart: who comes by the service's own meets CORS, who comes by the page's meets
/// the page.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    page: Option<Page>,
    cors: CorsLayer,
}

impl Doors {
    pub fn new(page: Option<Page>, cors: CorsLayer) -> Self {
        Self { page, cors }
    }
}

impl<S: Clone> Layer<S> for Doors {
    type Service = AtDoors<S>;

    fn layer(&self, inner: S) -> AtDoors<S> {
        AtDoors {
            page: self.page.clone(),
            open: self.cors.layer(inner.clone()),
            own: inner,
        }
    }
}

/// A service behind the doors.
#[derive(Clone, Debug)]
pub(super) struct AtDoors<S> {
    page: Option<Page>,
    /// For any page.
    open: Cors<S>,
    /// For this page alone: browsers let no other read, or even send, where no CORS header says so.
    own: S,
}

impl<S> Service<Request<Body>> for AtDoors<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.open.poll_ready(context))?;
        self.own.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let origin = request.extensions().get::<Origin>();
        let page = match (origin.map(|origin| origin.door), &self.page) {
            (Some(Door::Page), Some(page)) => page,
            _ => return self.open.call(request).boxed(),
        };
        let refusal = match asked(&request) {
            Asked::Call => {
                let answer = self.own.call(request);
                return async move { Ok(guarded(answer.await?)) }.boxed();
            }
            Asked::Page => return std::future::ready(Ok(guarded(page.response()))).boxed(),
            Asked::Refused(refusal) => refusal,
        };
        std::future::ready(Ok(guarded(refusal.response()))).boxed()
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Page,
    Call,
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    /// Only these methods.
    Method(&'static str),
    Type,
}

impl Refusal {
    fn response(self) -> Response<Body> {
        let (status, text) = match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not found; the page is at /\n".to_owned(),
            ),
            Self::Method(allowed) => (
                StatusCode::METHOD_NOT_ALLOWED,
                format!("not by this method; allowed here: {allowed}\n"),
            ),
            Self::Type => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "only grpc-web here; gRPC is on the service's own address\n".to_owned(),
            ),
        };
        let mut response = Response::new(Body::new(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if let Self::Method(allowed) = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

fn asked<B>(request: &Request<B>) -> Asked {
    let (path, method) = (request.uri().path(), request.method());
    let service = path.strip_prefix('/').and_then(|p| p.strip_prefix(SERVICE));
    let refused = if path == "/" {
        if [Method::GET, Method::HEAD].contains(method) {
            return Asked::Page;
        }
        Refusal::Method("GET, HEAD")
    } else if !service.is_some_and(|method| method.starts_with('/')) {
        Refusal::NotFound
    } else if method != Method::POST {
        Refusal::Method("POST")
    } else if !is_grpc_web(request.headers()) {
        Refusal::Type
    } else {
        return Asked::Call;
    };
    Asked::Refused(refused)
}

fn is_grpc_web(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc-web"))
}

/// With what every answer from here carries.
fn guarded(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What is no page may do nothing; and a newer server has a newer page.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_and_its_calls_pass() {
        let check = |method: Method, path: &str, kind: &str, expect: Asked| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::CONTENT_TYPE, kind)
                .body(())
                .unwrap();
            assert_eq!(asked(&request), expect, "{} {path}", request.method());
        };
        let get_model = "/copydesk.v1.ClassifierService/GetModel";
        let web = "application/grpc-web+proto";
        check(Method::GET, "/", "", Asked::Page);
        check(Method::GET, "/?a=b", "", Asked::Page);
        check(Method::HEAD, "/", "", Asked::Page);
        let page_only = Asked::Refused(Refusal::Method("GET, HEAD"));
        check(Method::POST, "/", web, page_only);
        check(Method::OPTIONS, "/", web, page_only);
        check(Method::POST, get_model, web, Asked::Call);
        check(Method::POST, get_model, "application/grpc-web", Asked::Call);
        let typed = Asked::Refused(Refusal::Type);
        check(Method::POST, get_model, "application/grpc", typed);
        check(Method::POST, get_model, "text/plain", typed);
        let posted = Asked::Refused(Refusal::Method("POST"));
        check(Method::GET, get_model, web, posted);
        // A preflight: no other page may call.
        check(Method::OPTIONS, get_model, "", posted);
        let nothing = Asked::Refused(Refusal::NotFound);
        check(Method::GET, "/index.html", "", nothing);
        check(Method::GET, "//", "", nothing);
        check(Method::POST, "/grpc.health.v1.Health/Check", web, nothing);
        check(
            Method::POST,
            "/copydesk.v1.ClassifierServiceX/GetModel",
            web,
            nothing,
        );
    }
}
