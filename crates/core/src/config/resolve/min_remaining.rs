//! `min_remaining` against the longest session that AWS may grant, which depends on who signs.

use std::time::Duration;

use crate::config::diagnostics::{Diagnostics, Problem};
use crate::config::keys::spoken;
use crate::lifecycle::longest_remaining;
use crate::role::{Role, SessionDuration};

pub(super) fn check(role: &Role, diagnostics: &Diagnostics<'_>) {
    let longest_session = match role.request.base.is_role_session() {
        true => SessionDuration::LONGEST_CHAINED,
        false => SessionDuration::LONGEST,
    };
    let seconds = role.duration.as_secs().min(longest_session);
    let most = longest_remaining(Duration::from_secs(seconds.into()));
    let wanted = role.terms.min_remaining;
    if wanted <= most {
        return;
    }
    let message = format!(
        "`min_remaining` is {}, which is more than three quarters of the {seconds} s that sessions of {} last",
        spoken(wanted),
        role.name
    );
    let mut help =
        format!("set min_remaining = \"{}\" at most", spoken(Duration::from_secs(most.as_secs())));
    let enough = (wanted.as_secs_f64() * 4.0 / 3.0).ceil();
    if enough <= f64::from(longest_session) {
        help.push_str(&format!(", or duration_seconds = {enough} at least"));
    }
    let place = diagnostics.role_place(&role.name, "min_remaining");
    diagnostics.emit(Problem::new(place, message).help(help));
}
