//! Connections: accepted under a limit, bounded in time and size, drained at shutdown.
//!
//! hyper's `http1` builder directly: the frameworks around it set no timer, and without one a
//! client that sends a byte a second stays for ever. One timeout bounds the request head and idle
//! keep-alive alike; SDKs do not mind.
//!
//! Invariants: there are never more than `max_connections` at once, and the rest wait in the
//! backlog (a 429 is fatal to many clients). A connection that was accepted before the shutdown is
//! answered. A client that sends nothing, or reads no answers, keeps its place for seconds.

use std::convert::Infallible;
use std::future::{Ready, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::reply::Reply;
use crate::listeners::Listeners;
use crate::metrics::Connections;
use crate::peer::InheritedSocket;
use roletap_core::caller::{Caller, PeerError};

pub mod admin;
pub mod guard;
pub mod imds;
pub mod reply;
pub mod vend;

/// The time for a request head to arrive, from the start of the connection or the last answer.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest request head, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
const HEADER_FIELDS_LIMIT: usize = 64;
/// After the shutdown began, a connection that was accepted and has sent nothing may still send its
/// request for this long.
const SHUTDOWN_READ_GRACE: Duration = Duration::from_millis(100);
/// Inherited sockets accept while the connections of before the shutdown are drained; the last
/// accepted are drained this long.
const HANDOVER_GRACE: Duration = Duration::from_millis(500);
/// The pause after an accept that failed for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The accept queue of the kernel is empty once it yields nothing for this long.
const ACCEPT_QUEUE_TIMEOUT: Duration = Duration::from_millis(1);

/// A service that answers the requests of a listener.
pub trait Endpoint: Clone + Send + Sync + Unpin + 'static {
    /// Answers a request, now or later.
    fn respond<B>(&self, request: Request<B>, connection: &Arc<Connection>) -> ReplyFuture;
}

/// An accepted connection, as far as an answer may depend on it.
#[derive(Debug)]
pub struct Connection {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The address that it was accepted at.
    pub local: Option<SocketAddr>,
    /// The listening socket, if roletap inherited it.
    pub inherited: Option<InheritedSocket>,
    /// The last answer of the kernel about who opened the connection.
    pub caller: Mutex<Option<Result<Caller, PeerError>>>,
}

/// A reply that is there, or waits for a pending role. Answering from memory allocates nothing.
pub type ReplyFuture = Either<
    Ready<Result<Reply, Infallible>>,
    Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>,
>;

/// Returns a future of a reply that is there.
fn ready(reply: Reply) -> ReplyFuture {
    Either::Left(std::future::ready(Ok(reply)))
}

impl Connection {
    fn new(stream: &TcpStream, peer: SocketAddr, inherited: Option<InheritedSocket>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            // A system call of a quarter of a microsecond: a stream that hyper has taken cannot be
            // asked later.
            local: stream.local_addr().ok(),
            inherited,
            caller: Mutex::new(None),
        })
    }

    /// Returns who opened the connection. `ask` is called for the first request that needs to know,
    /// and again until the kernel has answered.
    pub fn caller(
        &self,
        ask: impl FnOnce(SocketAddr, SocketAddr, Option<InheritedSocket>) -> Result<Caller, PeerError>,
    ) -> Result<Caller, PeerError> {
        let mut known = self.caller.lock();
        match *known {
            Some(answer) if is_final(answer) => answer,
            Some(_) | None => *known.insert(match self.local {
                Some(local) => ask(self.peer, local, self.inherited),
                None => Err(PeerError::Closed),
            }),
        }
    }

    /// Returns the last answer of the kernel about who opened the connection, without asking.
    pub fn known_caller(&self) -> Option<Result<Caller, PeerError>> {
        *self.caller.lock()
    }
}

/// Returns true if asking the kernel again could not change the answer.
fn is_final(answer: Result<Caller, PeerError>) -> bool {
    match answer {
        Ok(_) | Err(PeerError::NotFound | PeerError::ForeignNamespace | PeerError::Closed) => true,
        Err(PeerError::Unavailable | PeerError::NoReply) => false,
    }
}

/// The limits on the connections of one endpoint.
#[derive(Debug, Clone)]
pub struct AcceptLimits {
    /// The most connections at once.
    pub max_connections: usize,
    /// The gauge of open connections.
    pub open: Connections,
}

/// The result of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still open at the deadline.
    pub cut: usize,
}

/// Serves until `shutdown`, then drains for at most `grace`. Connections that are open then are cut
/// when the runtime ends.
///
/// Inherited sockets accept until the connections of before the shutdown have ended. A client that
/// connects meanwhile need not wait for the next process; a client that connects later is answered
/// by it.
pub async fn serve(
    listeners: Listeners<TcpListener>,
    endpoint: impl Endpoint,
    limits: AcceptLimits,
    shutdown: CancellationToken,
    grace: Duration,
) -> Drained {
    let leave = CancellationToken::new();
    let (connections, before_shutdown) = (TaskTracker::new(), TaskTracker::new());
    let acceptor = Acceptor {
        endpoint,
        places: Arc::new(Semaphore::new(limits.max_connections)),
        open: limits.open,
        shutdown: shutdown.clone(),
        connections: connections.clone(),
        before_shutdown: before_shutdown.clone(),
        first: 0,
        log: AcceptLog::default(),
    };
    let hands_over = !listeners.inherited.is_empty();
    let mut accepting = tokio::spawn(acceptor.run(listeners, leave.clone()));
    shutdown.cancelled().await;
    let mut deadline = Instant::now() + grace;
    if hands_over {
        before_shutdown.close();
        let _ = timeout_at(deadline, before_shutdown.wait()).await;
        deadline = Instant::now() + HANDOVER_GRACE;
    }
    leave.cancel();
    if timeout_at(deadline, &mut accepting).await.is_err() {
        accepting.abort();
    }
    connections.close();
    let _ = timeout_at(deadline, connections.wait()).await;
    Drained { cut: connections.len() }
}

/// Serves as [`serve`] does, on a thread and a runtime that do nothing else.
pub fn serve_on_own_thread(
    listeners: Listeners,
    endpoint: impl Endpoint,
    limits: AcceptLimits,
    shutdown: CancellationToken,
    grace: Duration,
) -> io::Result<JoinHandle<Drained>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _inside = runtime.enter();
        listeners.into_tokio()?
    };
    std::thread::Builder::new()
        .name("serve".to_owned())
        .spawn(move || runtime.block_on(serve(listeners, endpoint, limits, shutdown, grace)))
}

/// The accept loop of all listeners of an endpoint. A place is taken before a connection is
/// accepted, and two loops would keep two places.
struct Acceptor<E> {
    endpoint: E,
    places: Arc<Semaphore>,
    open: Connections,
    shutdown: CancellationToken,
    connections: TaskTracker,
    /// Those of `connections` that were accepted before the shutdown.
    before_shutdown: TaskTracker,
    /// The listener that is asked first, so that a busy one starves no other.
    first: usize,
    log: AcceptLog,
}

/// A listener, and how the kernel knows it if roletap inherited it.
#[derive(Clone, Copy)]
struct ListenSocket<'l> {
    listener: &'l TcpListener,
    inherited: Option<InheritedSocket>,
}

type Accepted = (TcpStream, SocketAddr, Option<InheritedSocket>);

impl<E: Endpoint> Acceptor<E> {
    /// Accepts on bound sockets until the shutdown, and on inherited ones until `leave`.
    async fn run(mut self, listeners: Listeners<TcpListener>, leave: CancellationToken) {
        let Listeners { bound: owned, inherited } = listeners;
        let bound = |listener| ListenSocket { listener, inherited: None };
        let bound: Vec<_> = owned.iter().map(bound).collect();
        let known = |listener| (listener, Some(InheritedSocket::of(listener)));
        let inherited = inherited.iter().map(known);
        let inherited: Vec<_> =
            inherited.map(|(listener, inherited)| ListenSocket { listener, inherited }).collect();
        let all = [&bound[..], &inherited].concat();
        let shutdown = self.shutdown.clone();
        self.accept_until(&shutdown, &all).await;
        // Connections that the kernel has completed on sockets that are about to be closed.
        while let Ok((place, accepted)) = timeout(ACCEPT_QUEUE_TIMEOUT, self.accept(&bound)).await {
            self.begin(place, accepted).await;
        }
        // A refusal is tried again at once; a connection that nobody accepts would be waited for.
        drop((all, bound));
        drop(owned);
        self.accept_until(&leave, &inherited).await;
    }

    async fn accept_until(&mut self, end: &CancellationToken, sockets: &[ListenSocket<'_>]) {
        loop {
            tokio::select! {
                (place, accepted) = self.accept(sockets) => self.begin(place, accepted).await,
                () = end.cancelled() => return,
            }
        }
    }

    /// Waits for a place, and then for a connection on any of `sockets`.
    async fn accept(
        &mut self,
        sockets: &[ListenSocket<'_>],
    ) -> (Option<OwnedSemaphorePermit>, io::Result<Accepted>) {
        // A closed semaphore does not happen: nobody closes it.
        let place = self.places.clone().acquire_owned().await.ok();
        let accepted = poll_fn(|context| {
            let in_turn = sockets.iter().enumerate().cycle().skip(self.first);
            for (index, socket) in in_turn.take(sockets.len()) {
                if let Poll::Ready(accepted) = socket.listener.poll_accept(context) {
                    self.first = (index + 1) % sockets.len();
                    let of = socket.inherited;
                    return Poll::Ready(accepted.map(|(stream, peer)| (stream, peer, of)));
                }
            }
            Poll::Pending
        });
        (place, accepted.await)
    }

    /// Serves a connection in a task of its own, which keeps the place until the connection is
    /// closed.
    async fn begin(&mut self, place: Option<OwnedSemaphorePermit>, accepted: io::Result<Accepted>) {
        let (stream, peer, inherited) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                self.log.failed(&error);
                return tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        };
        let connection = Connection::new(&stream, peer, inherited);
        let (endpoint, open) = (self.endpoint.clone(), self.open.clone());
        let shutdown = self.shutdown.clone();
        let early = (!shutdown.is_cancelled()).then(|| self.before_shutdown.token());
        self.connections.spawn(async move {
            let _counted = open.open();
            serve_connection(stream, connection, endpoint, shutdown).await;
            drop((place, early));
        });
    }
}

/// Logs failed accepts in moderation: without free descriptors they fail twenty times a second.
#[derive(Default)]
struct AcceptLog {
    unlogged: u64,
    logged_at: Option<Instant>,
}

impl AcceptLog {
    fn failed(&mut self, error: &io::Error) {
        self.unlogged += 1;
        if self.logged_at.is_some_and(|at| at.elapsed() < ACCEPT_LOG_INTERVAL) {
            return;
        }
        self.logged_at = Some(Instant::now());
        let since_last_line = std::mem::take(&mut self.unlogged);
        tracing::warn!(%error, since_last_line, "connections could not be accepted; they wait");
    }
}

async fn serve_connection(
    stream: TcpStream,
    connection: Arc<Connection>,
    endpoint: impl Endpoint,
    shutdown: CancellationToken,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // A client may shut down its sending side and still wait for the answer.
        .half_close(true)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_LIMIT)
        .max_buf_size(HEAD_LIMIT)
        .max_headers(HEADER_FIELDS_LIMIT);
    let respond = service_fn(|request| endpoint.respond(request, &connection));
    let mut connection = builder.serve_connection(TokioIo::new(stream), respond);
    let mut run = poll_fn(|context| connection.poll_without_shutdown(context));
    let ended = tokio::select! {
        biased;
        ended = &mut run => Some(ended),
        () = shutdown.cancelled() => timeout(SHUTDOWN_READ_GRACE, run).await.ok(),
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    if ended.is_err_and(|error| error.is_timeout()) && !parts.read_buf.is_empty() {
        // Half a head is a slow client; nothing at all is an idle one, which is closed without a
        // word.
        let _ = stream.write_all(&reply::too_slow()).await;
    }
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_connection_keeps_what_the_kernel_has_answered_and_asks_again_where_it_has_not() {
        let connection = Connection {
            peer: (Ipv4Addr::LOCALHOST, 40_000).into(),
            local: Some((Ipv4Addr::LOCALHOST, 5169).into()),
            inherited: None,
            caller: Mutex::default(),
        };
        assert_eq!(connection.known_caller(), None);
        let caller = Caller { uid: 5, group: None };
        for said in [
            Err(PeerError::Unavailable),
            Err(PeerError::NoReply),
            Err(PeerError::NoReply),
            Ok(caller),
        ] {
            assert_eq!(connection.caller(|_, _, _| said), said);
            assert_eq!(connection.known_caller(), Some(said));
        }
        let again = connection.caller(|_, _, _| panic!("it has answered"));
        assert_eq!(again, Ok(caller));
        for said in [PeerError::NotFound, PeerError::ForeignNamespace, PeerError::Closed] {
            *connection.caller.lock() = Some(Err(said));
            let again = connection.caller(|_, _, _| panic!("it has answered"));
            assert_eq!(again, Err(said));
        }
    }
}
