//! What every call passes before the service and after it: who calls, how fast its messages arrive,
//! and that its connection is in use. Stands behind grpc-web and CORS, so that browsers read what is
//! said here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::activity::{Activity, Running};
use super::arrival::Arriving;
use super::auth::Tokens;
use super::listener::Origin;
use super::watched::{Call, Failures};
use crate::telemetry::Observer;

/// What the gate asks of calls.
#[derive(Debug)]
pub(super) struct Rules {
    pub tokens: Option<Tokens>,
    /// How long a request message may be under way.
    pub message_timeout: Option<Duration>,
    pub observers: Arc<[Arc<dyn Observer>]>,
}

/// Puts a gate before a service.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Rules>);

impl Gate {
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(rules))
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        let rules = Arc::clone(&self.0);
        Gated { inner, rules }
    }
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub(super) struct Gated<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let observers = Arc::clone(&self.rules.observers);
        let mut call = Call::begin(&observers, request.uri().path(), request.headers());
        let origin = request.extensions().get::<Origin>();
        let running = origin.map(|origin| Activity::call(Arc::clone(&origin.activity)));
        if let Some(tokens) = &self.rules.tokens
            && let Err(status) = tokens.check(request.uri().path(), request.headers())
        {
            call.ended_with(&status);
            return std::future::ready(Ok(status.into_http())).boxed();
        }
        if let Some(refusal) = strange(&request) {
            call.ended_with(&Status::invalid_argument("not a call of gRPC"));
            return std::future::ready(Ok(refusal)).boxed();
        }
        request.extensions_mut().insert(call.work());
        request.extensions_mut().insert(Failures(observers));
        let request = match self.rules.message_timeout {
            None => request,
            Some(limit) => {
                let whole = !streams(request.uri().path());
                request.map(|body| Body::new(Arriving::new(body, limit, whole)))
            }
        };
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await?;
            call.ended(answer.headers());
            let watch = |body| {
                Body::new(Answer {
                    body,
                    call,
                    _running: running,
                })
            };
            Ok(answer.map(watch))
        }
        .boxed()
    }
}

/// What is said, as gRPC over HTTP/2 would have it, to what is no call: one is a POST of
/// `application/grpc`, with a suffix or without.
fn strange(request: &Request<Body>) -> Option<Response<Body>> {
    let kind = request.headers().get(CONTENT_TYPE);
    let status = if request.method() != Method::POST {
        StatusCode::METHOD_NOT_ALLOWED
    } else if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        return None;
    };
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    Some(answer)
}

/// Whether a method takes a stream of messages, which may be long apart.
fn streams(path: &str) -> bool {
    path.ends_with("/ClassifyArticles")
        || path.ends_with("/ModelStreamInfer")
        || path.starts_with("/grpc.reflection.")
}

/// The answer of a call, which runs until it is dropped.
struct Answer {
    body: Body,
    call: Call,
    _running: Option<Running>,
}

impl http_body::Body for Answer {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => match frame.trailers_ref() {
                Some(trailers) => self.call.ended(trailers),
                None => self.call.message(),
            },
            Poll::Ready(Some(Err(status))) => self.call.ended_with(status),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
