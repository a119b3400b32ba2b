//! A call that answers many requests: a task of its own, whose messages are the stream of answers.
//! Ends when the stream is dropped.

use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;

/// Why a call ends before its requests do.
pub(super) enum End {
    /// The client has left.
    Gone,
    /// It fails as a whole.
    Failed(Status),
}

/// A task that ends when it is dropped.
pub(super) struct Work(JoinHandle<Result<(), End>>);

impl Work {
    /// Begins it.
    pub fn new(work: impl Future<Output = Result<(), End>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// What it sends, and then how it ends.
    pub fn answers<T: Send + 'static>(
        self,
        messages: mpsc::Receiver<T>,
    ) -> impl Stream<Item = Result<T, Status>> + Send + use<T> {
        stream::unfold(Some((messages, self)), |state| async {
            let (mut messages, mut work) = state?;
            if let Some(message) = messages.recv().await {
                return Some((Ok(message), Some((messages, work))));
            }
            match (&mut work.0).await {
                Ok(Ok(()) | Err(End::Gone)) => None,
                Ok(Err(End::Failed(status))) => Some((Err(status), None)),
                Err(error) => {
                    tracing::error!(%error, "a call of many requests failed");
                    Some((
                        Err(Status::internal("the server failed on this call")),
                        None,
                    ))
                }
            }
        })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}
