//! What is left at the end: secrets in logs, growth, and the figures.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::World;
use crate::config::Text;
use crate::daemon::{BASE_SECRET, read};
use crate::oracle::lock;
use crate::watch::Quiet;

const MIB: f64 = 1024.0 * 1024.0;

/// Says a line.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// No secret may lie in what the daemon wrote.
pub(crate) fn search_logs(world: &World, home: &Path, text: &Text) {
    let mut secrets = world.sts.secrets();
    secrets.push(BASE_SECRET.to_owned());
    for role in &world.oracle.roles {
        let facts = role.facts();
        secrets.push(facts.token.to_string());
        secrets.extend(facts.previous_tokens.iter().map(ToString::to_string));
    }
    for path in [home.join("stderr.log"), text.audit_path()] {
        let log = read(&path);
        if log.is_empty() {
            world.oracle.violation(&format!("{} is empty", path.display()));
        }
        // A secret has no blanks, quotes or equals signs around it that a word would not end at: look words up.
        let found = secrets
            .iter()
            .filter(|secret| secret.len() >= 20 && log.contains(secret.as_str()))
            .count();
        if found > 0 {
            world.oracle.violation(&format!("{} holds {found} secrets", path.display()));
        }
        if log.contains("panicked") {
            world.oracle.violation(&format!("{} tells of a panic", path.display()));
        }
    }
}

/// The figures; whether all is well.
pub(crate) fn print(
    world: &World,
    quiets: Option<(Quiet, Quiet, Duration)>,
    took: Duration,
) -> bool {
    let oracle = &world.oracle;
    let tally = oracle.tally();
    let sum = |prefix: &str| -> u64 {
        tally.iter().filter(|(what, _)| what.starts_with(prefix)).map(|(_, count)| count).sum()
    };
    if let Some((first, second, _)) = &quiets {
        if second.fds > first.fds + 2.0 {
            oracle.violation(&format!(
                "file descriptors leak: {} when quiet, then {}",
                first.fds, second.fds
            ));
        }
        // Threads that read files come and go; one for each reload or look would be hundreds.
        if second.threads > first.threads + 8.0 {
            oracle.violation(&format!(
                "threads leak: {} when quiet, then {}",
                first.threads, second.threads
            ));
        }
        // What an allocator keeps depends on luck; what leaks by the request or the reload does not stay under this.
        if second.rss > first.rss * 1.25 + 6.0 * MIB {
            oracle.violation(&format!(
                "memory leaks: {:.1} MiB when quiet, then {:.1} MiB",
                first.rss / MIB,
                second.rss / MIB
            ));
        }
    }
    let (violations, kept) = oracle.violations();
    let answers = sum("answer ") + sum("SDK client");
    say("");
    for (what, count) in &tally {
        say(&format!("{count:>10}  {what}"));
    }
    let peaks = lock(&world.peaks).clone();
    say(&format!(
        "\n{answers} answers in {:.0} s, {:.0} per second, the slowest over a kept connection {:.0} ms",
        took.as_secs_f64(),
        answers as f64 / took.as_secs_f64(),
        oracle.slowest().as_secs_f64() * 1e3
    ));
    say(&format!(
        "{} reloads, {} restarts; from a signal to the next process that answers {:.0} ms at the longest, with sockets that stay open",
        sum("reloads "),
        sum("restarts "),
        world.longest_down().as_secs_f64() * 1e3
    ));
    say(&format!(
        "STS: {} calls, {} of them failed on purpose in {} ways, {} issued, {} in the busiest second",
        peaks.sts_calls,
        peaks.sts_faults,
        peaks.sts_answers.len(),
        world.sts.issued_after(0).len(),
        peaks.sts_busiest_second
    ));
    say(&format!(
        "at most {:.1} MiB resident, {} file descriptors, {} threads ({} scrapes)",
        peaks.rss / MIB,
        peaks.fds,
        peaks.threads,
        peaks.scrapes
    ));
    if let Some((first, second, recovered)) = &quiets {
        say(&format!(
            "quiet: {:.1} MiB, {} file descriptors, {} threads; at the end {:.1} MiB, {}, {}",
            first.rss / MIB,
            first.fds,
            first.threads,
            second.rss / MIB,
            second.fds,
            second.threads
        ));
        say(&format!(
            "every role was fresh {:.0} ms after STS was well",
            recovered.as_secs_f64() * 1e3
        ));
    }
    for line in oracle.prelude().iter().chain(&kept) {
        say(line);
    }
    say(&format!("{violations} violations (seed {})", world.seed));
    violations == 0
}
