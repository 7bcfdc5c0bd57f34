//! The thread, the sockets, and the state that the handle and the thread share.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::fault::Fault;
use super::reply::{self, Ending, RawReply};
use super::request::{self, Received};
use super::script::{self, Scope, ScriptPlan, TokenBucket};
use super::world::World;

/// A hang outlasts every client's patience, but not a night of chaos.
const HANG: Duration = Duration::from_secs(600);

/// A listener on a thread of its own.
pub(super) struct FakeServer {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

impl FakeServer {
    /// Listens before it returns.
    pub(super) fn start(address: SocketAddr, shared: Arc<SharedState>) -> io::Result<Self> {
        let listener = listen(address)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("fake-sts".to_owned())
            .spawn(move || runtime.block_on(serve(listener, address, shared, receiver)))?;
        Ok(Self { orders, thread })
    }

    /// Returns when the port refuses.
    pub(super) fn stop(self) {
        drop(self.orders);
        // A panic in there has been printed, and the log of requests shows what is missing.
        let _ = self.thread.join();
    }

    /// Returns when the port refuses, or, for no time at all, when it accepts again.
    pub(super) fn outage(&self, duration: Duration) {
        let (done, finished) = std_mpsc::channel();
        if self.orders.send(Order { outage_until: Instant::now() + duration, done }).is_ok() {
            let _ = finished.recv_timeout(Duration::from_secs(10));
        }
    }
}

/// Keeps a port without listening on it.
pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The listener binds the same port beside it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// State that handle and thread share. Never locked across an await.
pub(super) struct SharedState {
    state: Mutex<ServerState>,
    changed: Condvar,
    generation: watch::Sender<u64>,
}

pub(super) struct ServerState {
    pub(super) world: World,
    pub(super) plans: HashMap<Scope, ScriptPlan>,
    pub(super) limit: Option<TokenBucket>,
    pub(super) log: Vec<Received>,
    pub(super) connections: u64,
    requests: u64,
}

impl SharedState {
    pub(super) fn new(seed: u64) -> Self {
        let state = ServerState {
            world: World::new(seed),
            plans: HashMap::new(),
            limit: None,
            log: Vec::new(),
            connections: 0,
            requests: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            generation: watch::Sender::new(0),
        }
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut ServerState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn wait_for(
        &self,
        enough: impl Fn(&[Received]) -> bool,
        deadline: Duration,
    ) -> Vec<Received> {
        let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = self
            .changed
            .wait_timeout_while(guard, deadline, |state| !enough(&state.log))
            .unwrap_or_else(PoisonError::into_inner);
        let log = guard.log.clone();
        // Before a panic, so that it poisons nothing.
        drop(guard);
        if !enough(&log) {
            give_up(&log, deadline);
        }
        log
    }

    pub(super) async fn seen(
        &self,
        enough: impl Fn(&[Received]) -> bool,
        deadline: Duration,
    ) -> Vec<Received> {
        let mut generation = self.generation.subscribe();
        let wait = async {
            loop {
                // Marked as seen before looking: a request in between wakes us again.
                generation.borrow_and_update();
                let log = self.update(|state| state.log.clone());
                if enough(&log) {
                    return log;
                }
                if generation.changed().await.is_err() {
                    return log;
                }
            }
        };
        match tokio::time::timeout(deadline, wait).await {
            Ok(log) => log,
            Err(_) => give_up(&self.update(|state| state.log.clone()), deadline),
        }
    }

    fn decide(&self, mut request: Received) -> RawReply {
        let reply = self.update(|state| {
            state.requests += 1;
            let request_id =
                format!("{:08x}-0000-4000-8000-{:012x}", state.world.seed, state.requests);
            let script =
                script::due(&mut state.plans, state.limit.as_mut(), &request, Instant::now());
            let reply = reply::compose(&mut state.world, &request, &script, &request_id);
            request.answered.clone_from(&reply.label);
            state.log.push(request);
            reply
        });
        self.changed.notify_all();
        self.generation.send_modify(|generation| *generation += 1);
        reply
    }
}

fn give_up(log: &[Received], deadline: Duration) -> ! {
    let seen: Vec<String> = log.iter().map(|request| format!("  {}", request.summary())).collect();
    panic!("not within {deadline:?}; FakeSts saw {} requests:\n{}", log.len(), seen.join("\n"))
}

struct Order {
    outage_until: Instant,
    done: std_mpsc::Sender<()>,
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    // std sets SO_REUSEADDR: connections of before the outage may still be in TIME_WAIT.
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the handle drops its end.
async fn serve(
    first: StdListener,
    address: SocketAddr,
    shared: Arc<SharedState>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut connections = JoinSet::new();
    let mut listener = TcpListener::from_std(first).ok();
    let mut outage_until = Instant::now();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                outage_until = order.outage_until;
                if outage_until > Instant::now() {
                    listener = None;
                    connections.shutdown().await;
                } else if listener.is_none() {
                    listener = listen(address).and_then(TcpListener::from_std).ok();
                }
                let _ = order.done.send(());
            }
            () = tokio::time::sleep_until(outage_until.into()), if listener.is_none() => {
                listener = listen(address).and_then(TcpListener::from_std).ok();
                // Somebody sits on the port: again soon.
                outage_until = Instant::now() + Duration::from_millis(20);
            }
            accepted = accept(listener.as_ref()) => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(converse(stream, Arc::clone(&shared)));
                } else {
                    // Out of file descriptors, most likely; do not spin.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// One connection, however many requests come over it.
async fn converse(mut stream: TcpStream, shared: Arc<SharedState>) {
    let (number, script) = shared.update(|state| {
        state.connections += 1;
        (state.connections, script::due_at_accept(&mut state.plans, Instant::now()))
    });
    let _ = stream.set_nodelay(true);
    if let Some(script) = script {
        tokio::time::sleep(script.latency).await;
        return if script.fault == Fault::ResetOnAccept {
            reset(stream)
        } else {
            tokio::time::sleep(HANG).await
        };
    }
    let mut buffer = Vec::new();
    // A client that breaks off mid-request is no concern of ours.
    while let Ok(Some(http)) = request::read_request(&mut stream, &mut buffer).await {
        let keep_alive = http.keep_alive;
        let reply = shared.decide(Received::from_http(http, number));
        tokio::time::sleep(reply.latency).await;
        if send(&mut stream, &reply).await.is_err() {
            return;
        }
        match reply.ending {
            Ending::Kept if keep_alive => {}
            Ending::Kept | Ending::Closed => {
                let _ = stream.shutdown().await;
                return;
            }
            Ending::Reset => return reset(stream),
            Ending::Hung => return hang(stream).await,
        }
    }
}

async fn send(stream: &mut TcpStream, reply: &RawReply) -> io::Result<()> {
    let Some((chunk, every)) = reply.pace else {
        return stream.write_all(&reply.bytes).await;
    };
    let (head, body) = reply.bytes.split_at(reply.head_length.min(reply.bytes.len()));
    stream.write_all(head).await?;
    for part in body.chunks(chunk) {
        tokio::time::sleep(every).await;
        stream.write_all(part).await?;
    }
    Ok(())
}

/// Closes with RST instead of FIN.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Silence until the client loses patience.
async fn hang(mut stream: TcpStream) {
    let mut ignored = [0; 1024];
    let _ = tokio::time::timeout(HANG, async {
        while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
    })
    .await;
}
