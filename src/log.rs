//! Where logs go: standard error, without ever waiting for its reader.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{Log, LogFormat, LogLevel};

/// Lines that may wait for a reader that stalls, here and in the audit log; then they are dropped. The memory for all of
/// them is taken at start.
pub(crate) const WAITING_LINES: usize = 8192;

/// Begins to log as configured. The guard writes out what is left when it is dropped.
pub fn start(log: &Log) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .thread_name("log")
        .buffered_lines_limit(WAITING_LINES)
        .finish(std::io::stderr());
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Our own lines at the level asked for; the libraries' only where they matter, or at trace.
    let others = if level == LevelFilter::TRACE {
        level
    } else {
        level.min(LevelFilter::WARN)
    };
    let filter = Targets::new()
        .with_target("roletap", level)
        // It repeats what helpers write to standard error, and at trace their command lines. Sources tell what matters.
        .with_target("aws_config", LevelFilter::OFF)
        .with_default(others);
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = match log.format {
        LogFormat::Text => fmt::layer()
            .with_writer(writer)
            .with_ansi(color)
            .with_target(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .with_ansi(false)
            .boxed(),
    };
    // Fails only if logging was started before, and then it goes on as it was.
    let _ = tracing::subscriber::set_global_default(
        Registry::default().with(layer.with_filter(filter)),
    );
    guard
}
