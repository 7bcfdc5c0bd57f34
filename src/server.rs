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
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, net};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

use self::reply::Reply;
use crate::metrics::Connections;

pub mod admin;
pub mod guard;
pub mod reply;
pub mod vend;

/// A head has this long to arrive, from the connection's start or the last answer.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that takes no answers while it goes on asking is cut off after this long, milliseconds. The kernel sees to it:
/// a timer of ours would have to be set for every answer.
const WRITE_TIMEOUT: u32 = 5_000;
/// A head is at most this large.
const HEAD_LIMIT: usize = 16 * 1024;
/// And has at most this many fields.
const FIELDS_LIMIT: usize = 64;
/// Connections that wait to be accepted. With 16, a burst of 500 costs its losers a second.
const BACKLOG: u32 = 1024;
/// After a shutdown began, connections that were accepted and have sent nothing yet may still speak for this long.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// After an accept that failed for want of file descriptors.
const BREATHER: Duration = Duration::from_millis(50);

/// What answers requests on a listener.
pub trait Endpoint: Clone + Send + Unpin + 'static {
    /// The answer, now or later.
    fn respond<B>(&self, request: Request<B>, peer: SocketAddr) -> Answering;
}

/// An answer on its way. Named, so that answering from memory costs no allocation.
pub enum Answering {
    /// It is here.
    Now(Option<Reply>),
    /// It waits for a pending role.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
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

/// Binds, so that a taken port is found before anything is issued.
pub fn bind(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?.into_std()?;
    tune(&listener)?;
    Ok(listener)
}

/// What accepted sockets inherit: no delay, the write timeout, and on loopback a time to live of one hop, so that nothing
/// can leave this host by a mistaken route.
fn tune(listener: &net::TcpListener) -> io::Result<()> {
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    setsockopt(listener, sockopt::TcpUserTimeout, &WRITE_TIMEOUT)?;
    if listener.local_addr()?.ip().is_loopback() {
        listener.set_ttl(1)?;
    }
    Ok(())
}

/// Binds every address. IPv6 may be absent from a host: that is a warning as long as another address remains.
pub fn bind_all(
    addresses: &[SocketAddr],
) -> Result<Vec<net::TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::new();
    let mut absent = None;
    for address in addresses {
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && is_absent_family(&error) => {
                tracing::warn!(%address, %error, "this host has no IPv6; not listening there");
                absent = Some((*address, error));
            }
            Err(error) => return Err((*address, error)),
        }
    }
    match absent {
        Some(absent) if listeners.is_empty() => Err(absent),
        _ => Ok(listeners),
    }
}

fn is_absent_family(error: &io::Error) -> bool {
    use io::ErrorKind;
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

/// Serves until `stopping` turns true, then drains for at most `grace`. What is open then is cut when the runtime ends.
pub async fn serve(
    listeners: Vec<TcpListener>,
    endpoint: impl Endpoint,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
    grace: Duration,
) -> Drained {
    let places = limits.connections.available_permits();
    let mut accepting = tokio::spawn(accept(
        listeners,
        endpoint,
        limits.clone(),
        stopping.clone(),
    ));
    let _ = stopping.wait_for(|stopping| *stopping).await;
    let deadline = tokio::time::Instant::now() + grace;
    if tokio::time::timeout_at(deadline, &mut accepting)
        .await
        .is_err()
    {
        accepting.abort();
    }
    // Whoever holds every place is alone.
    let every = u32::try_from(places).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout_at(deadline, limits.connections.acquire_many(every)).await;
    Drained {
        cut: places - limits.connections.available_permits(),
    }
}

/// As [`serve`], on a thread and a runtime that do nothing else.
pub fn serve_on_own_thread(
    listeners: Vec<net::TcpListener>,
    endpoint: impl Endpoint,
    limits: Limits,
    stopping: watch::Receiver<bool>,
    grace: Duration,
) -> io::Result<JoinHandle<Drained>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listeners = {
        let _inside = runtime.enter();
        listeners
            .into_iter()
            .map(TcpListener::from_std)
            .collect::<Result<Vec<_>, _>>()?
    };
    std::thread::Builder::new()
        .name("serve".to_owned())
        .spawn(move || runtime.block_on(serve(listeners, endpoint, limits, stopping, grace)))
}

/// Accepts until shutdown. Connections are tasks of their own, and each holds a place until it is closed.
async fn accept(
    listeners: Vec<TcpListener>,
    endpoint: impl Endpoint,
    limits: Limits,
    stopping: watch::Receiver<bool>,
) {
    let mut stop = stopping.clone();
    let mut stop = std::pin::pin!(stop.wait_for(|stopping| *stopping));
    let mut stopped = false;
    let mut first = 0;
    loop {
        let accepted = async {
            // A closed semaphore does not happen: nobody closes it.
            let permit = limits.connections.clone().acquire_owned().await.ok();
            (permit, next(&listeners, &mut first).await)
        };
        let (permit, accepted) = if stopped {
            // What the kernel has completed is ours to answer; the queue is empty once nothing comes at once.
            match tokio::time::timeout(Duration::from_millis(1), accepted).await {
                Ok(accepted) => accepted,
                Err(_) => return,
            }
        } else {
            tokio::select! {
                accepted = accepted => accepted,
                _ = &mut stop => { stopped = true; continue }
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let (endpoint, open, stopping) =
                    (endpoint.clone(), limits.open.clone(), stopping.clone());
                tokio::spawn(async move {
                    let _counted = open.open();
                    converse(stream, peer, endpoint, stopping).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATHER).await;
            }
        }
    }
}

/// The next connection on any of them. They take turns, so that a busy one starves no other.
async fn next(listeners: &[TcpListener], first: &mut usize) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        let in_turn = listeners.iter().enumerate().cycle().skip(*first);
        for (place, listener) in in_turn.take(listeners.len()) {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                *first = (place + 1) % listeners.len();
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
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
    let mut connection =
        builder.serve_connection(TokioIo::new(stream), PerConnection { endpoint, peer });
    let spoken = tokio::select! {
        biased;
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
    };
    let spoken = match spoken {
        Some(ended) => Ok(ended),
        None => {
            tokio::time::timeout(
                LAST_WORDS,
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
    peer: SocketAddr,
}

impl<E: Endpoint> Service<Request<Incoming>> for PerConnection<E> {
    type Response = Reply;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.endpoint.respond(request, self.peer)
    }
}

impl Future for Answering {
    type Output = Result<Reply, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(reply) => reply
                .take()
                .map_or(Poll::Pending, |reply| Poll::Ready(Ok(reply))),
            Self::Later(waiting) => waiting.as_mut().poll(context).map(Ok),
        }
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answering")
    }
}
