//! `roletap status`

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::fetch::{ask_admin, pause};
use super::{Failure, load, print};

/// Between two looks with `--watch`.
const WATCH: Duration = Duration::from_secs(2);

/// Shows what the daemon holds.
pub fn status(config: &Path, json: bool, watch: bool, ready: bool) -> Result<(), Failure> {
    let loaded = load(config, "the daemon was not asked")?;
    if ready {
        let is_ready = ask_admin(&loaded.config, "GET", "/readyz")?.status == 200;
        return is_ready.then_some(()).ok_or_else(|| Failure::unavailable("not ready"));
    }
    loop {
        let answer = ask_admin(&loaded.config, "GET", "/roles")?;
        let overview = answer.expect(200, "cannot show the status")?.json()?;
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

fn render(overview: &Value) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_host(&mut out, overview);
    let roles = || overview["roles"].as_array().into_iter().flatten();
    let width = roles().map(|role| text(&role["name"]).len()).max().unwrap_or(0).max(4);
    let _ = writeln!(
        out,
        "\n{:width$}  {:8} {:21} {:21} ACCESS KEY",
        "ROLE", "PHASE", "EXPIRES", "NEXT ATTEMPT"
    );
    for role in roles() {
        let cell = |key: &str| text(&role[key]);
        let _ = writeln!(
            out,
            "{:width$}  {:8} {:21} {:21} {}",
            cell("name"),
            cell("phase"),
            cell("expires_at"),
            cell("next_attempt_at"),
            cell("access_key_id"),
        );
    }
    for role in roles() {
        let _ = write_troubles(&mut out, role);
    }
    out
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// Writes the daemon's state, and what keeps the whole host from STS.
fn write_host(out: &mut String, overview: &Value) -> fmt::Result {
    let field = |key: &str| text(&overview[key]);
    let ready = if overview["ready"] == true { "ready" } else { "not ready" };
    writeln!(out, "roletap {} at {}: {ready}", field("version"), field("time"))?;
    let (home, active) = (field("sts_home_region"), field("sts_region"));
    if home != active {
        writeln!(out, "STS does not answer in {home}: it is asked in {active}")?;
    }
    if overview["sts_paused"] == true {
        writeln!(out, "STS throttles this host: all calls pause")?;
    }
    let sources = overview["sources"].as_array().into_iter().flatten();
    for source in sources.filter(|source| source["up"] == false) {
        let (name, origin) = (text(&source["name"]), text(&source["origin"]));
        let why = source["last_error"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        writeln!(out, "source {name} ({origin}) has no usable base credentials{why}")?;
    }
    Ok(())
}

/// Writes which consumers a role misses, and why its last attempt failed.
fn write_troubles(out: &mut String, role: &Value) -> fmt::Result {
    let name = text(&role["name"]);
    if let Some(stale @ 1..) = role["stale_consumers"].as_u64() {
        writeln!(
            out,
            "\n{name}: consumers whose credentials have expired, and that have not asked since: {stale}\n  \
             stopped on purpose, or holding on to what they have? see `roletap doctor --pid`",
        )?;
    }
    let error = &role["last_error"];
    if error.is_null() {
        return Ok(());
    }
    let field = |key: &str| text(&error[key]);
    writeln!(
        out,
        "\n{name} has failed {} times since {} ({}):\n  {}\n  means:  {}\n  ask:    {}\n  change: {}",
        error["failed_attempts"],
        field("failing_since"),
        field("class"),
        field("message"),
        field("meaning"),
        field("ask"),
        field("change"),
    )?;
    match error["request_id"].as_str() {
        Some(id) => writeln!(out, "  request id {id}"),
        None => Ok(()),
    }
}
