//! Accepts connections: no more than allowed at a time, with TLS where it is set up, and closed when
//! nothing has run on them for long. Knows nothing of what they carry.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::activity::Activity;
use super::tls::Tls;

/// How long a client may take over its side of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait when the system gives no connection, as when it has no more file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// How often refusals are logged at most.
const REFUSALS: Duration = Duration::from_secs(1);

/// How many connections there are.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    room: Arc<Semaphore>,
    refused: AtomicU64,
}

impl Connections {
    /// At most `most` at a time.
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            most,
            room: Arc::new(Semaphore::new(most)),
            refused: AtomicU64::new(0),
        }
    }

    /// Allowed at a time.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Open now.
    pub fn open(&self) -> usize {
        self.most.saturating_sub(self.room.available_permits())
    }

    /// Refused since the start, for want of room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn admit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok();
        if permit.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }
}

/// By which address something came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The service's own.
    Service,
    /// That of the page for a browser.
    Page,
}

/// Where a call comes from; stands among a request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub activity: Arc<Activity>,
    pub door: Door,
}

/// What is done with connections.
#[derive(Clone)]
pub(super) struct Rules {
    pub tls: Option<Tls>,
    pub connections: Arc<Connections>,
    pub idle: Option<Duration>,
}

/// The connections that come in by any of the doors, until the receiver is dropped.
pub(super) fn accept(
    doors: impl IntoIterator<Item = (TcpListener, Door)>,
    rules: &Rules,
) -> ReceiverStream<io::Result<Connection>> {
    let (out, connections) = mpsc::channel(1);
    for (listener, door) in doors {
        tokio::spawn(run(listener, door, rules.clone(), out.clone()));
    }
    ReceiverStream::new(connections)
}

type Out = mpsc::Sender<io::Result<Connection>>;

async fn run(listener: TcpListener, door: Door, rules: Rules, out: Out) {
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = out.closed() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the system gives no connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(permit) = rules.connections.admit() else {
            // Closed at once: the client goes elsewhere rather than wait here for its deadline.
            if told.is_none_or(|told| told.elapsed() >= REFUSALS) {
                told = Some(Instant::now());
                let refused = rules.connections.refused();
                tracing::warn!(refused, "connections beyond --max-connections are refused");
            }
            continue;
        };
        // Sentences are small, and each should leave at once.
        let _ = stream.set_nodelay(true);
        match &rules.tls {
            None => {
                let connection = Connection::new(Stream::Plain(stream), door, permit, rules.idle);
                let _ = out.send(Ok(connection)).await;
            }
            Some(tls) => {
                let (acceptor, out, idle) = (tls.acceptor(), out.clone(), rules.idle);
                tokio::spawn(async move {
                    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
                    match shaken {
                        Ok(Ok(stream)) => {
                            let stream = Stream::Tls(Box::new(stream));
                            let connection = Connection::new(stream, door, permit, idle);
                            let _ = out.send(Ok(connection)).await;
                        }
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
                        Err(_) => tracing::debug!("a client took too long over TLS"),
                    }
                });
            }
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection; gives its place back when it ends.
pub(super) struct Connection {
    stream: Stream,
    origin: Origin,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: Stream,
        door: Door,
        place: OwnedSemaphorePermit,
        idle: Option<Duration>,
    ) -> Self {
        let activity = Arc::default();
        Self {
            stream,
            origin: Origin { activity, door },
            idle: idle.map(|idle| (idle, Box::pin(tokio::time::sleep(idle)))),
            _place: place,
        }
    }

    /// Whether nothing has run for too long. Otherwise sees to it that the question is asked again.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((limit, timer)) = &mut self.idle else {
            return Poll::Pending;
        };
        while timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let since = self.origin.activity.idle_since().unwrap_or(now);
            if since + *limit <= now {
                return Poll::Ready(());
            }
            timer.as_mut().reset((since + *limit).into());
        }
        Poll::Pending
    }
}

impl Connected for Connection {
    /// Calls are counted here; requests find it among their extensions.
    type ConnectInfo = Origin;

    fn connect_info(&self) -> Origin {
        self.origin.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        match read {
            Poll::Ready(read) => Poll::Ready(read),
            // As if the client had closed it.
            Poll::Pending => this.poll_idle(context).map(Ok),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
