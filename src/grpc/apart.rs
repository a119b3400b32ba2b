//! Answers that are made in a task of their own, so that they keep their deadline though nobody reads
//! them: HTTP/2 asks for no message while the reader has no room for one.

use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;

/// Why a call ends before its messages do.
pub(super) enum End {
    /// The client has left.
    Gone,
    /// It fails as a whole.
    Failed(Status),
}

/// The messages that `work` sends. One waits for the reader; the work ends when the stream is dropped.
pub(super) fn messages<T, F>(
    work: impl FnOnce(mpsc::Sender<T>) -> F,
) -> impl Stream<Item = Result<T, Status>> + Send
where
    T: Send + 'static,
    F: Future<Output = Result<(), End>> + Send + 'static,
{
    let (out, messages) = mpsc::channel(1);
    let work = Work(tokio::spawn(work(out)));
    stream::unfold(Some((messages, work)), |state| async {
        let (mut messages, mut work) = state?;
        if let Some(message) = messages.recv().await {
            return Some((Ok(message), Some((messages, work))));
        }
        match (&mut work.0).await {
            Ok(Ok(()) | Err(End::Gone)) => None,
            Ok(Err(End::Failed(status))) => Some((Err(status), None)),
            Err(error) => {
                tracing::error!(%error, "a call failed");
                Some((
                    Err(Status::internal("the server failed on this call")),
                    None,
                ))
            }
        }
    })
}

/// A task that ends when it is dropped.
struct Work(JoinHandle<Result<(), End>>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}
