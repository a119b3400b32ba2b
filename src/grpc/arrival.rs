//! How long request messages take to arrive: one that trickles in is ended, so that slow senders
//! hold no memory for long. Counts only the time that the server waits for the client, so whoever
//! is slowed by the server is not blamed for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::status;

/// A request whose messages must arrive in time.
pub(super) struct Arriving {
    body: Body,
    limit: Duration,
    /// Whether the limit is for the whole request, or for each message from its first byte on.
    whole: bool,
    message: Message,
    /// Waited for the present message.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Arriving {
    pub fn new(body: Body, limit: Duration, whole: bool) -> Self {
        Self {
            body,
            limit,
            whole,
            message: Message::default(),
            waited: Duration::ZERO,
            waiting: None,
        }
    }

    /// Bytes came.
    fn arrived(&mut self, bytes: &[u8]) {
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        if self.message.take(bytes) && !self.whole {
            self.waited = Duration::ZERO;
        }
    }
}

impl http_body::Body for Arriving {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    this.arrived(bytes);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending if this.whole || this.message.under_way() => {
                let left = this.limit.saturating_sub(this.waited);
                let (_, timer) = this
                    .waiting
                    .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
                timer
                    .as_mut()
                    .poll(context)
                    .map(|()| Some(Err(status::too_slow(this.limit))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where in gRPC's frames the bytes are: a flag, four bytes of length, the message.
#[derive(Debug, Default)]
struct Message {
    prefix: [u8; 5],
    got: usize,
    left: u32,
}

impl Message {
    fn under_way(&self) -> bool {
        self.got > 0
    }

    /// Goes on by some bytes; whether a message ended among them.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            let count = if self.got < self.prefix.len() {
                let count = bytes.len().min(self.prefix.len() - self.got);
                self.prefix[self.got..self.got + count].copy_from_slice(&bytes[..count]);
                self.got += count;
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length);
                count
            } else {
                let count = bytes.len().min(self.left as usize);
                self.left -= count as u32;
                count
            };
            bytes = &bytes[count..];
            if self.got == self.prefix.len() && self.left == 0 {
                *self = Self::default();
                ended = true;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        let wire = [
            &[0, 0, 0, 0, 3][..],
            b"abc",
            &[1, 0, 0, 0, 0],
            &[0, 0, 0, 0, 1],
            b"z",
        ]
        .concat();
        for size in 1..=wire.len() {
            let mut message = Message::default();
            let mut at = 0;
            for chunk in wire.chunks(size) {
                at += chunk.len();
                message.take(chunk);
                let between = [8, 13, 19].contains(&at);
                assert_eq!(message.under_way(), !between, "{size} {at}");
            }
        }
    }
}
