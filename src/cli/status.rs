//! `roletap status`

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::fetch::{ask_admin, pause};
use super::{ExitStatus, Failure, load, print};
use crate::config::Config;

/// Between two looks with `--watch`.
const WATCH: Duration = Duration::from_secs(2);

/// Shows what the daemon holds.
pub fn status(config: &Path, json: bool, watch: bool, ready: bool) -> Result<(), Failure> {
    let loaded = load(config, "the daemon was not asked")?;
    if ready {
        let answer = ask_admin(&loaded.config, "GET", "/readyz")?;
        return match answer.status {
            200 => Ok(()),
            _ => Err(Failure::new(ExitStatus::Unavailable, "not ready")),
        };
    }
    loop {
        let overview = overview(&loaded.config)?;
        if json {
            return print(&format!("{overview:#}\n"));
        }
        let table = render(&overview);
        if !watch {
            return print(&table);
        }
        // Home, and clear to the end: the screen does not flicker.
        print(&format!("\x1b[H\x1b[J{table}"))?;
        pause(WATCH);
    }
}

fn overview(config: &Config) -> Result<Value, Failure> {
    let answer = ask_admin(config, "GET", "/roles")?;
    if answer.status != 200 {
        return Err(answer.failure("cannot show the status"));
    }
    serde_json::from_slice(&answer.body).map_err(|_| {
        Failure::new(
            ExitStatus::Unavailable,
            "the answer is not JSON: is something else listening there?",
        )
    })
}

/// Writing to a string cannot fail.
fn render(overview: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut out = String::new();
    let ready = if overview["ready"] == true { "ready" } else { "not ready" };
    let _ = writeln!(
        out,
        "roletap {} at {}: {ready}",
        text(&overview["version"]),
        text(&overview["time"])
    );
    if overview["sts_region"] != overview["sts_home_region"] {
        let _ = writeln!(
            out,
            "STS does not answer in {}: it is asked in {}",
            text(&overview["sts_home_region"]),
            text(&overview["sts_region"])
        );
    }
    if overview["sts_paused"] == true {
        let _ = writeln!(out, "STS throttles this host: all calls pause");
    }
    for source in overview["sources"].as_array().into_iter().flatten() {
        if source["up"] == false {
            let why = source["last_error"].as_str();
            let _ = writeln!(
                out,
                "source {} ({}) has no usable base credentials{}",
                text(&source["name"]),
                text(&source["origin"]),
                why.map(|why| format!(": {why}")).unwrap_or_default()
            );
        }
    }
    let roles = || overview["roles"].as_array().into_iter().flatten();
    let width = roles().map(|role| text(&role["name"]).len()).max().unwrap_or(0).max(4);
    let _ = writeln!(
        out,
        "\n{:width$}  {:8} {:21} {:21} ACCESS KEY",
        "ROLE", "PHASE", "EXPIRES", "NEXT ATTEMPT"
    );
    for role in roles() {
        let _ = writeln!(
            out,
            "{:width$}  {:8} {:21} {:21} {}",
            text(&role["name"]),
            text(&role["phase"]),
            text(&role["expires_at"]),
            text(&role["next_attempt_at"]),
            text(&role["access_key_id"]),
        );
    }
    for role in roles() {
        if let Some(stale @ 1..) = role["stale_consumers"].as_u64() {
            let _ = writeln!(
                out,
                "\n{}: consumers whose credentials have expired, and that have not asked since: {stale}\n  \
                 stopped on purpose, or holding on to what they have? see `roletap doctor --pid`",
                text(&role["name"]),
            );
        }
        let error = &role["last_error"];
        if error.is_null() {
            continue;
        }
        let _ = writeln!(
            out,
            "\n{} has failed {} times since {} ({}):\n  {}\n  means:  {}\n  ask:    {}\n  change: {}",
            text(&role["name"]),
            error["failed_attempts"],
            text(&error["failing_since"]),
            text(&error["class"]),
            text(&error["message"]),
            text(&error["meaning"]),
            text(&error["ask"]),
            text(&error["change"]),
        );
        if let Some(id) = error["request_id"].as_str() {
            let _ = writeln!(out, "  request id {id}");
        }
    }
    out
}
