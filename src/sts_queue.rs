//! The queue in front of STS: callers wait here for the turn that the pure [`Budget`] gives them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use roletap_core::backoff::Jitter;
use roletap_core::budget::{Answer, Budget, Limits, Need, Turn};

/// So many are asked anew for every turn; more of them only once in [`ASK_EVERY`], or ten thousand roles would be asked
/// ten thousand times each.
const FEW: usize = 256;
const ASK_EVERY: Duration = Duration::from_millis(50);
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
    state: Mutex<QueueState>,
    changed: Notify,
    depth: AtomicUsize,
}

struct QueueState {
    budget: Budget,
    waiting: Vec<Waiting>,
    /// The answers of `waiting` when they were last asked, in the same order.
    needs: Vec<Need>,
    asked_at: Option<Instant>,
}

struct Waiting {
    /// Asked again and again: a need grows while its owner waits.
    need: Box<dyn Fn() -> Need + Send>,
    turn: oneshot::Sender<Permit>,
}

impl Queue {
    /// Makes a queue without waiting roles.
    pub fn new(limits: Limits) -> Self {
        let state = QueueState {
            budget: Budget::new(limits, now()),
            waiting: Vec::new(),
            needs: Vec::new(),
            asked_at: None,
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
        {
            let mut state = self.shared.lock();
            state.needs.push(need());
            state.waiting.push(Waiting { need: Box::new(need), turn });
        }
        self.shared.changed.notify_one();
        // The sender lives in the queue, which lives as long as `self`.
        granted.await.unwrap_or_else(|_| Permit { shared: None, begun: now() })
    }

    /// Somebody's need has changed while it waits.
    pub fn look_again(&self) {
        self.shared.lock().asked_at = None;
        self.shared.changed.notify_one();
    }

    /// Calls that wait for a turn.
    pub fn depth(&self) -> usize {
        self.shared.depth.load(Ordering::Relaxed)
    }

    /// Tells whether this host stays away from STS.
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
    /// Concludes the call with its answer.
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
            let mut locked = self.lock();
            let state = &mut *locked;
            let begun = now();
            state.ask(begun);
            self.depth.store(state.waiting.len(), Ordering::Relaxed);
            match state.budget.turn(&state.needs, begun) {
                Turn::Of(position) => {
                    let waiting = state.waiting.remove(position);
                    state.needs.remove(position);
                    drop(locked);
                    // Whoever gave up since then returns the permit by dropping it.
                    let _ = waiting.turn.send(Permit { shared: Some(self.clone()), begun });
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

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Nothing panics while it holds the lock, and a poisoned queue must not stop a host.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Forgets who has gone, and asks those who wait how much they need their turn.
    fn ask(&mut self, now: Instant) {
        let known = self.asked_at.is_some_and(|at| now < at + ASK_EVERY);
        if known && self.waiting.len() > FEW {
            return;
        }
        self.waiting.retain(|waiting| !waiting.turn.is_closed());
        self.needs.clear();
        let needs = self.waiting.iter().map(|waiting| (waiting.need)());
        self.needs.extend(needs);
        self.asked_at = Some(now);
    }
}

/// Monotonic, and moved by simulated tests.
fn now() -> Instant {
    let now = tokio::time::Instant::now();
    now.into_std()
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("depth", &self.depth()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roletap_core::budget::Urgency;

    const UNASKED: Need = Need {
        urgency: Urgency::Unasked,
        expires_at: None,
        refused: false,
        unreachable: false,
        hurried: false,
    };

    /// How often all of so many that wait are asked how much they need their turn, until the last has had it.
    async fn asked(waiting: usize) -> usize {
        let queue = Queue::new(Limits { max_in_flight: 8, max_requests_per_second: 600 });
        let running = tokio::spawn(queue.clone().run());
        let asked = Arc::new(AtomicUsize::new(0));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..waiting {
            let (queue, asked) = (queue.clone(), asked.clone());
            callers.spawn(async move {
                let need = move || {
                    asked.fetch_add(1, Ordering::Relaxed);
                    UNASKED
                };
                queue.permit(need).await.conclude(Answer::Good, Jitter::LATEST);
            });
        }
        while callers.join_next().await.is_some() {}
        running.abort();
        asked.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_that_wait_are_not_asked_for_every_turn() {
        // For every turn it would be two million.
        let asked = asked(2_000).await;
        assert!(asked < 200_000, "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_becomes_urgent_among_thousands_is_seen_at_once_when_told() {
        let queue = Queue::new(Limits { max_in_flight: 1, max_requests_per_second: 600 });
        let running = tokio::spawn(queue.clone().run());
        let mut held = vec![queue.permit(|| UNASKED).await];
        let urgent = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut others = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let queue = queue.clone();
            others.spawn(async move { queue.permit(|| UNASKED).await });
        }
        while queue.depth() < 1_000 {
            tokio::task::yield_now().await;
        }
        let need = {
            let urgent = urgent.clone();
            move || Need {
                urgency: match urgent.load(Ordering::Relaxed) {
                    true => Urgency::Ending,
                    false => Urgency::Unasked,
                },
                ..UNASKED
            }
        };
        let mut late = std::pin::pin!(queue.permit(need));
        assert!(
            tokio::time::timeout(Duration::from_millis(10), late.as_mut()).await.is_err(),
            "somebody else has the one place"
        );
        urgent.store(true, Ordering::Relaxed);
        queue.look_again();
        held.clear();
        let first = tokio::time::timeout(Duration::from_secs(2), late).await;
        assert!(first.is_ok());
        assert_eq!(queue.depth(), 1_000);
        running.abort();
    }
}
