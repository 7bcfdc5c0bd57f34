//! `min_remaining`: how long what is vended has at least, for consumers that copy it once.

use std::time::Duration;

use super::chains::LONGEST_CHAINED;
use super::durations::{self, spoken};
use super::lint;
use super::problem::Problem;
use super::reading::Reading;
use super::section::Section;
use crate::lifecycle::longest_remaining;
use crate::role::Role;

const LONGEST_SESSION: u32 = 43_200;
const EXAMPLE: Duration = Duration::from_secs(1_800);

/// Zero where it is left out.
pub(super) fn read(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Duration {
    let longest = longest_remaining(Duration::from_secs(LONGEST_SESSION.into()));
    section
        .text("min_remaining", reading, |text| {
            durations::parse(text, EXAMPLE, Duration::ZERO..=longest)
        })
        .map(|found| found.value)
        .unwrap_or_default()
}

/// Against what AWS may grant, which is known once it is known who signs.
pub(super) fn check(role: &Role, reading: &mut Reading<'_>) {
    let longest_session =
        if role.request.base.is_role_session() { LONGEST_CHAINED } else { LONGEST_SESSION };
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
    let problem = match lint::place(role, "min_remaining", reading) {
        Some(at) => Problem::new(at, message),
        None => Problem::of_file(0, message),
    };
    reading.problem(problem.help(help));
}
