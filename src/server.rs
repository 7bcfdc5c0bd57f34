//! Connections: accepted under a limit, given so much time and so much room, drained at the end.
//!
//! hyper's `http1` builder directly: the frameworks around it set no timer, and without one a client that sends a byte a
//! second stays for ever. One knob bounds the head and idle keep-alive alike; SDKs do not mind.
//!
//! Invariants: never more than `max_connections` at once, the rest wait in the backlog (a 429 is fatal to many clients);
//! a connection that was accepted before shutdown began is answered; who sends nothing, or takes no answers, keeps its place
//! for seconds and not for ever.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use self::reply::Reply;
use crate::caller::peer::InheritedSocket;
use crate::caller::{Caller, PeerError};
use crate::listeners::Listeners;
use crate::metrics::Connections;

pub mod admin;
pub mod guard;
pub mod imds;
pub mod reply;
pub mod vend;

/// A head has this long to arrive, from the connection's start or the last answer.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A head is at most this large.
const HEAD_LIMIT: usize = 16 * 1024;
/// And has at most this many fields.
const FIELDS_LIMIT: usize = 64;
/// After a shutdown began, connections that were accepted and have sent nothing yet may still speak for this long.
const SHUTDOWN_READ_GRACE: Duration = Duration::from_millis(100);
/// While a listener that outlives us is drained, whoever connects is answered; then this long is left for the last of them.
const HANDOVER_GRACE: Duration = Duration::from_millis(500);
/// After an accept that failed for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// That it failed is said this often.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What answers requests on a listener.
pub trait Endpoint: Clone + Send + Sync + Unpin + 'static {
    /// The answer, now or later.
    fn respond<B>(&self, request: Request<B>, connection: &Arc<Connection>) -> ReplyFuture;
}

/// One connection, as far as an answer may depend on it.
#[derive(Debug)]
pub struct Connection {
    /// The address at the other end.
    pub peer: SocketAddr,
    /// Ours.
    local: Option<SocketAddr>,
    /// What it was accepted from, if that was handed to us.
    handed: Option<InheritedSocket>,
    /// Who opened it, as far as somebody has wanted to know.
    caller: Mutex<Option<Result<Caller, PeerError>>>,
}

/// An answer on its way. Named, so that answering from memory costs no allocation.
pub enum ReplyFuture {
    /// It is here.
    Now(Option<Reply>),
    /// It waits for a pending role.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

impl Connection {
    fn of(stream: &TcpStream, peer: SocketAddr, handed: Option<InheritedSocket>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            // A system call of a quarter of a microsecond, since a stream that hyper has taken cannot be asked later.
            local: stream.local_addr().ok(),
            handed,
            caller: Mutex::new(None),
        })
    }

    /// Who opened it: asked at the first request for which it matters, and again until the kernel has answered.
    pub fn caller(
        &self,
        ask: impl FnOnce(SocketAddr, SocketAddr, Option<InheritedSocket>) -> Result<Caller, PeerError>,
    ) -> Result<Caller, PeerError> {
        let mut known = self.lock_caller();
        match *known {
            Some(answer) if is_answer(answer) => answer,
            Some(_) | None => *known.insert(match self.local {
                Some(local) => ask(self.peer, local, self.handed),
                None => Err(PeerError::Closed),
            }),
        }
    }

    /// What was last known of who opened it, if somebody has wanted to know.
    pub fn known_caller(&self) -> Option<Result<Caller, PeerError>> {
        *self.lock_caller()
    }

    fn lock_caller(&self) -> MutexGuard<'_, Option<Result<Caller, PeerError>>> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it says something of the caller, which no later question would change.
fn is_answer(known: Result<Caller, PeerError>) -> bool {
    match known {
        Ok(_) | Err(PeerError::NotFound | PeerError::ForeignNamespace | PeerError::Closed) => true,
        Err(PeerError::Unavailable | PeerError::NoReply) => false,
    }
}

/// A listener's limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections: Arc<Semaphore>,
    /// How many there are.
    pub open: Connections,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that the deadline cut.
    pub cut: usize,
}

/// Serves until `stopping` turns true, then drains for at most `grace`. What is open then is cut when the runtime ends.
///
/// Listeners that outlive us accept until the connections of before have ended: who connects meanwhile need not wait for
/// the next process, and who connects after that is answered by it.
pub async fn serve(
    listeners: Listeners<TcpListener>,
    endpoint: impl Endpoint,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
    grace: Duration,
) -> Drained {
    let places = limits.connections.available_permits();
    let (leave, leaving) = watch::channel(false);
    let (present, mut ended) = mpsc::channel(1);
    let acceptor = Acceptor {
        endpoint,
        limits: limits.clone(),
        stopping: stopping.clone(),
        present: present.downgrade(),
    };
    let outlived = !listeners.inherited.is_empty();
    let mut accepting = tokio::spawn(acceptor.accept(listeners, leaving));
    let _ = stopping.wait_for(|stopping| *stopping).await;
    let mut deadline = Instant::now() + grace;
    drop(present);
    if outlived {
        let _ = tokio::time::timeout_at(deadline, ended.recv()).await;
        deadline = Instant::now() + HANDOVER_GRACE;
    }
    leave.send_replace(true);
    if tokio::time::timeout_at(deadline, &mut accepting).await.is_err() {
        accepting.abort();
    }
    // Whoever holds every place is alone.
    let every = u32::try_from(places).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout_at(deadline, limits.connections.acquire_many(every)).await;
    Drained { cut: places - limits.connections.available_permits() }
}

/// As [`serve`], on a thread and a runtime that do nothing else.
pub fn serve_on_own_thread(
    listeners: Listeners,
    endpoint: impl Endpoint,
    limits: Limits,
    stopping: watch::Receiver<bool>,
    grace: Duration,
) -> io::Result<JoinHandle<Drained>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _inside = runtime.enter();
        listeners.into_tokio()?
    };
    std::thread::Builder::new()
        .name("serve".to_owned())
        .spawn(move || runtime.block_on(serve(listeners, endpoint, limits, stopping, grace)))
}

/// Accepts, on all listeners in one loop: a place is taken before a connection is, and two loops would keep two.
struct Acceptor<E> {
    endpoint: E,
    limits: Limits,
    stopping: watch::Receiver<bool>,
    /// Held by the connections of before the shutdown.
    present: mpsc::WeakSender<Infallible>,
}

impl<E: Endpoint> Acceptor<E> {
    /// Accepts until the shutdown, on listeners that outlive us until `leaving`.
    async fn accept(self, listeners: Listeners<TcpListener>, leaving: watch::Receiver<bool>) {
        let Listeners { bound, inherited } = listeners;
        let mut first = 0;
        let mut complaints = Complaints::default();
        let ours: Vec<Entrance<'_>> = bound.iter().map(Entrance::ours).collect();
        let theirs: Vec<Entrance<'_>> = inherited.iter().map(Entrance::handed).collect();
        let all = [&ours[..], &theirs].concat();
        self.accept_until(
            self.stopping.clone(),
            &all,
            Some(&self.present),
            &mut first,
            &mut complaints,
        )
        .await;
        // What the kernel has completed is ours to answer; the queue is empty once nothing comes at once.
        while let Ok((permit, accepted)) =
            tokio::time::timeout(Duration::from_millis(1), self.accepted(&ours, &mut first)).await
        {
            self.begin(permit, accepted, None, &mut complaints).await;
        }
        // Closed now: a refusal is tried again at once, and a connection that nobody accepts is waited for.
        drop((all, ours));
        drop(bound);
        // And of these it is the next process's.
        self.accept_until(leaving, &theirs, None, &mut first, &mut complaints).await;
    }

    async fn accept_until(
        &self,
        mut over: watch::Receiver<bool>,
        entrances: &[Entrance<'_>],
        present: Option<&mpsc::WeakSender<Infallible>>,
        first: &mut usize,
        complaints: &mut Complaints,
    ) {
        let mut over = std::pin::pin!(async { drop(over.wait_for(|over| *over).await) });
        loop {
            tokio::select! {
                (permit, accepted) = self.accepted(entrances, first) => {
                    self.begin(permit, accepted, present, complaints).await;
                }
                () = &mut over => return,
            }
        }
    }

    async fn accepted(&self, entrances: &[Entrance<'_>], first: &mut usize) -> Accepted {
        // A closed semaphore does not happen: nobody closes it.
        let permit = self.limits.connections.clone().acquire_owned().await.ok();
        (permit, next(entrances, first).await)
    }

    /// Connections are tasks of their own, and each holds a place until it is closed.
    async fn begin(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        accepted: io::Result<(TcpStream, SocketAddr, Option<InheritedSocket>)>,
        present: Option<&mpsc::WeakSender<Infallible>>,
        complaints: &mut Complaints,
    ) {
        match accepted {
            Ok((stream, peer, handed)) => {
                let (endpoint, open) = (self.endpoint.clone(), self.limits.open.clone());
                let connection = Connection::of(&stream, peer, handed);
                let stopping = self.stopping.clone();
                let present = present.and_then(mpsc::WeakSender::upgrade);
                tokio::spawn(async move {
                    let _counted = open.open();
                    serve_connection(stream, connection, endpoint, stopping).await;
                    drop((permit, present));
                });
            }
            Err(error) => {
                complaints.add(&error);
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

type Accepted =
    (Option<OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr, Option<InheritedSocket>)>);

/// Where connections come in.
#[derive(Clone, Copy)]
struct Entrance<'l> {
    listener: &'l TcpListener,
    handed: Option<InheritedSocket>,
}

impl<'l> Entrance<'l> {
    /// By a socket that we bound: it is where we are.
    fn ours(listener: &'l TcpListener) -> Self {
        Self { listener, handed: None }
    }

    /// By one that was handed to us.
    fn handed(listener: &'l TcpListener) -> Self {
        Self { listener, handed: Some(InheritedSocket::of(listener)) }
    }
}

/// Accepts that failed. Where descriptors have run out, they fail twenty times a second.
#[derive(Default)]
struct Complaints {
    unsaid: u64,
    said_at: Option<Instant>,
}

impl Complaints {
    fn add(&mut self, error: &io::Error) {
        self.unsaid += 1;
        if self.said_at.is_some_and(|at| at.elapsed() < ACCEPT_LOG_INTERVAL) {
            return;
        }
        self.said_at = Some(Instant::now());
        let since_last_line = std::mem::take(&mut self.unsaid);
        tracing::warn!(
            %error,
            since_last_line,
            "connections could not be accepted; they wait"
        );
    }
}

/// The next connection on any of them. They take turns, so that a busy one starves no other.
async fn next(
    entrances: &[Entrance<'_>],
    first: &mut usize,
) -> io::Result<(TcpStream, SocketAddr, Option<InheritedSocket>)> {
    poll_fn(|context| {
        let in_turn = entrances.iter().enumerate().cycle().skip(*first);
        for (place, entrance) in in_turn.take(entrances.len()) {
            if let Poll::Ready(accepted) = entrance.listener.poll_accept(context) {
                *first = (place + 1) % entrances.len();
                return Poll::Ready(accepted.map(|(stream, peer)| (stream, peer, entrance.handed)));
            }
        }
        Poll::Pending
    })
    .await
}

async fn serve_connection(
    stream: TcpStream,
    connection: Arc<Connection>,
    endpoint: impl Endpoint,
    mut stopping: watch::Receiver<bool>,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_LIMIT)
        .max_buf_size(HEAD_LIMIT)
        .max_headers(FIELDS_LIMIT);
    let per_connection = PerConnection { endpoint, connection };
    let mut connection = builder.serve_connection(TokioIo::new(stream), per_connection);
    let spoken = tokio::select! {
        biased;
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    let spoken = match spoken {
        Some(ended) => Ok(ended),
        None => {
            tokio::time::timeout(
                SHUTDOWN_READ_GRACE,
                poll_fn(|context| connection.poll_without_shutdown(context)),
            )
            .await
        }
    };
    let ended = match spoken {
        Ok(ended) => ended,
        Err(_) => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    if ended.is_err_and(|error| error.is_timeout()) && !parts.read_buf.is_empty() {
        // Half a head is a slow client; nothing at all is an idle one, which is closed without a word.
        let _ = stream.write_all(&reply::too_slow()).await;
    }
    let _ = stream.shutdown().await;
}

struct PerConnection<E> {
    endpoint: E,
    connection: Arc<Connection>,
}

impl<E: Endpoint> Service<Request<Incoming>> for PerConnection<E> {
    type Response = Reply;
    type Error = Infallible;
    type Future = ReplyFuture;

    fn call(&self, request: Request<Incoming>) -> ReplyFuture {
        self.endpoint.respond(request, &self.connection)
    }
}

impl Future for ReplyFuture {
    type Output = Result<Reply, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(reply) => reply.take().map_or(Poll::Pending, |reply| Poll::Ready(Ok(reply))),
            Self::Later(waiting) => waiting.as_mut().poll(context).map(Ok),
        }
    }
}

impl std::fmt::Debug for ReplyFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplyFuture")
    }
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
            handed: None,
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
            *connection.lock_caller() = Some(Err(said));
            let again = connection.caller(|_, _, _| panic!("it has answered"));
            assert_eq!(again, Err(said));
        }
    }
}
