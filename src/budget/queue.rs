//! The queue in front of STS: callers wait here for the turn that [`Budget`] gives them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::{Answer, Budget, Limits, Need, Turn};
use crate::lifecycle::Jitter;

/// Between two looks at a budget that has nothing to give.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// One per host. Cheap to share; [`Queue::run`] has to be running for anyone to get a turn.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

/// The right to make one call. Dropping it without [`Permit::conclude`] says nothing about STS.
#[must_use]
#[derive(Debug)]
pub struct Permit {
    shared: Option<Arc<Shared>>,
    begun: Instant,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    depth: AtomicUsize,
}

struct State {
    budget: Budget,
    waiting: Vec<Waiting>,
}

struct Waiting {
    /// Asked again whenever a turn is free: a need grows while its owner waits.
    need: Box<dyn Fn() -> Need + Send>,
    turn: oneshot::Sender<Permit>,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Self {
        let state = State {
            budget: Budget::new(limits, now()),
            waiting: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
                depth: AtomicUsize::new(0),
            }),
        }
    }

    /// New limits, from a reload.
    pub fn limit(&self, limits: Limits) {
        self.shared.lock().budget.limit(limits);
        self.shared.changed.notify_one();
    }

    /// Waits for a turn. Dropping the future gives up the place.
    pub async fn permit(&self, need: impl Fn() -> Need + Send + 'static) -> Permit {
        let (turn, granted) = oneshot::channel();
        self.shared.lock().waiting.push(Waiting {
            need: Box::new(need),
            turn,
        });
        self.shared.changed.notify_one();
        // The sender lives in the queue, which lives as long as `self`.
        granted.await.unwrap_or_else(|_| Permit {
            shared: None,
            begun: now(),
        })
    }

    /// Somebody's need has changed while it waits.
    pub fn look_again(&self) {
        self.shared.changed.notify_one();
    }

    /// Calls that wait for a turn.
    pub fn depth(&self) -> usize {
        self.shared.depth.load(Ordering::Relaxed)
    }

    /// Whether the host is staying away from STS.
    pub fn is_paused(&self) -> bool {
        self.shared.lock().budget.is_paused(now())
    }

    /// Gives turns, for ever.
    pub async fn run(self) {
        loop {
            let next = self.shared.give_turns();
            let changed = self.shared.changed.notified();
            match next {
                Some(at) => {
                    // A share of a token may round to no wait at all, and a loop that does not wait stops the host.
                    let at = at.max(now() + SHORTEST_WAIT);
                    let _ = tokio::time::timeout_at(at.into(), changed).await;
                }
                None => changed.await,
            }
        }
    }
}

impl Permit {
    /// The call has ended, with this answer.
    pub fn conclude(mut self, answer: impl Into<Answer>, jitter: Jitter) {
        if let Some(shared) = self.shared.take() {
            shared.conclude(answer.into(), self.begun, jitter);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.conclude(Answer::Unknown, self.begun, Jitter::LATEST);
        }
    }
}

impl Shared {
    /// Gives every turn that can be given now; says when to look again.
    fn give_turns(self: &Arc<Self>) -> Option<Instant> {
        loop {
            let mut state = self.lock();
            state.waiting.retain(|waiting| !waiting.turn.is_closed());
            self.depth.store(state.waiting.len(), Ordering::Relaxed);
            let needs: Vec<Need> = state
                .waiting
                .iter()
                .map(|waiting| (waiting.need)())
                .collect();
            let begun = now();
            match state.budget.turn(&needs, begun) {
                Turn::Of(position) => {
                    let waiting = state.waiting.remove(position);
                    drop(state);
                    // Whoever gave up since then returns the permit by dropping it.
                    let _ = waiting.turn.send(Permit {
                        shared: Some(self.clone()),
                        begun,
                    });
                }
                Turn::NotBefore(at) => return Some(at),
                Turn::Nobody => return None,
            }
        }
    }

    fn conclude(&self, answer: Answer, begun: Instant, jitter: Jitter) {
        self.lock().budget.conclude(answer, begun, now(), jitter);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and a poisoned queue must not stop a host.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Monotonic, and moved by simulated tests.
fn now() -> Instant {
    let now = tokio::time::Instant::now();
    now.into_std()
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
