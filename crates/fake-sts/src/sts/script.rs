//! Which script is due: pure, given the instant.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::fault::{Fault, Script};
use super::request::Received;

/// The requests that a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Role(String),
    Region(String),
    Operation(String),
    Any,
}

#[derive(Default)]
pub(super) struct ScriptPlan {
    pub(super) windows: Vec<(Instant, Script)>,
    pub(super) queue: VecDeque<Script>,
    pub(super) standing: Option<Script>,
}

impl ScriptPlan {
    fn window(&mut self, now: Instant) -> Option<Script> {
        self.windows.retain(|(end, _)| *end > now);
        // The last one opened: whoever narrows an outage down expects to be heard.
        self.windows.last().map(|(_, script)| script.clone())
    }
}

/// The script at accept, when only the plan for every request can apply.
pub(super) fn due_at_accept(
    plans: &mut HashMap<Scope, ScriptPlan>,
    now: Instant,
) -> Option<Script> {
    let plan = plans.get_mut(&Scope::Any)?;
    if let Some(script) = plan.window(now) {
        return Some(script).filter(|script| script.fault.is_at_accept());
    }
    match plan.queue.front() {
        Some(next) if next.fault.is_at_accept() => plan.queue.pop_front(),
        Some(_) => None,
        None => plan.standing.clone().filter(|script| script.fault.is_at_accept()),
    }
}

/// The script for this request.
pub(super) fn due(
    plans: &mut HashMap<Scope, ScriptPlan>,
    limit: Option<&mut TokenBucket>,
    request: &Received,
    now: Instant,
) -> Script {
    if let Some(refusal) = limit.and_then(|bucket| bucket.refuse(now)) {
        return refusal;
    }
    let keys = [
        Scope::Role(request.role_arn.clone().unwrap_or_default()),
        Scope::Region(request.region.clone().unwrap_or_default()),
        Scope::Operation(request.action.clone()),
        Scope::Any,
    ];
    let mut first = |choose: &dyn Fn(&mut ScriptPlan) -> Option<Script>| {
        keys.iter().find_map(|key| plans.get_mut(key).and_then(choose))
    };
    first(&|plan| plan.window(now))
        .or_else(|| first(&|plan| plan.queue.pop_front()))
        .or_else(|| first(&|plan| plan.standing.clone()))
        .unwrap_or_else(|| Fault::None.into())
}

/// A token bucket.
pub(super) struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
    answer: Script,
}

impl TokenBucket {
    pub(super) fn new(per_second: f64, burst: f64, answer: Script) -> Self {
        Self { per_second, burst, tokens: burst, filled: Instant::now(), answer }
    }

    fn refuse(&mut self, now: Instant) -> Option<Script> {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.filled = now;
        if self.tokens < 1.0 {
            return Some(self.answer.clone());
        }
        self.tokens -= 1.0;
        None
    }
}
