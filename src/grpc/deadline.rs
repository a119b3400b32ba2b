//! The caller's deadline: read where a request comes in, carried with it, kept up to the headers
//! here and after them by whoever answers. A deadline that passes is DEADLINE_EXCEEDED.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::status;

/// How long before the client's deadline its answer is given up, at most. tonic keeps a clock of its
/// own up to the headers and answers CANCELLED, so ours must ring first.
const EARLY: Duration = Duration::from_millis(50);

/// When to give up; stands in a request's extensions.
#[derive(Clone, Copy, Debug)]
struct Deadline(Instant);

/// The deadline of a request that came through [`Deadlines`].
pub(super) fn of<T>(request: &tonic::Request<T>) -> Option<Instant> {
    request.extensions().get().map(|Deadline(at)| *at)
}

/// Waits no longer than the deadline; `None` when it has passed.
pub(super) async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
    }
}

/// Reads the deadline before the request's message has come in, and answers for whoever has sent no
/// headers by then: a message that trickles in is no way around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines;

impl<S> Layer<S> for Deadlines {
    type Service = Within<S>;

    fn layer(&self, inner: S) -> Within<S> {
        Within(inner)
    }
}

/// A service that keeps deadlines.
#[derive(Clone, Debug)]
pub(super) struct Within<S>(S);

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<Request<B>> for Within<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let deadline = read(request.headers());
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Box::pin(async { Ok(status::deadline_exceeded().into_http()) });
        }
        if let Some(at) = deadline {
            request.extensions_mut().insert(Deadline(at));
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            match within(deadline, answer).await {
                Some(answer) => answer,
                None => Ok(status::deadline_exceeded().into_http()),
            }
        })
    }
}

/// When to give up, from the client's `grpc-timeout` header: at most eight digits and a unit.
fn read(headers: &HeaderMap) -> Option<Instant> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let n: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    };
    Instant::now().checked_add(timeout - EARLY.min(timeout / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        let check = |value: &str, expect: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().unwrap());
            let found = read(&headers).map(|d| d.duration_since(Instant::now()));
            let found = found.map(|d| (d + Duration::from_millis(400)).as_secs());
            assert_eq!(found, expect, "{value}");
        };
        check("2S", Some(2));
        check("2000m", Some(2));
        check("1H", Some(3600));
        check("S", None);
        check("", None);
        check("-1S", None);
        check("123456789S", None);
        check("5x", None);
    }
}
