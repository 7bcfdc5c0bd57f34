//! Where logs go: standard error or journald, without ever waiting for their reader.

use std::fmt::{Debug, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry, fmt};

use crate::journal::{Entry, Journal, Priority, SOCKET};
use roletap_core::config::{Log, LogFormat, LogLevel};

/// Lines that may wait for a reader that stalls, here and in the audit log; then they are dropped. The memory for all of
/// them is taken at start.
pub(crate) const WAITING_LINES: usize = 8192;

/// Begins to log as configured. The guard writes out what is left when it is dropped.
pub fn start(log: &Log) -> io::Result<WorkerGuard> {
    let builder =
        NonBlockingBuilder::default().thread_name("log").buffered_lines_limit(WAITING_LINES);
    let (writer, guard) = match log.format {
        LogFormat::Text | LogFormat::Json => builder.finish(io::stderr()),
        LogFormat::Journald => builder.finish(Journal::open(Path::new(SOCKET))?),
    };
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Our own lines at the level asked for; the libraries' only where they matter, or at trace.
    let others = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let filter = Targets::new()
        .with_target("roletap", level)
        // It repeats what helpers write to standard error, and at trace their command lines. Sources tell what matters.
        .with_target("aws_config", LevelFilter::OFF)
        .with_default(others);
    let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let layer = match log.format {
        LogFormat::Text => {
            fmt::layer().with_writer(writer).with_ansi(color).with_target(false).boxed()
        }
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_writer(writer).with_ansi(false).boxed()
        }
        LogFormat::Journald => JournalLayer(writer).boxed(),
    };
    // Fails only if logging was started before, and then it goes on as it was.
    let _ = tracing::subscriber::set_global_default(
        Registry::default().with(layer.with_filter(filter)),
    );
    Ok(guard)
}

/// Lines as journald takes them.
struct JournalLayer(NonBlocking);

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LogLine::default();
        event.record(&mut line);
        let priority = match *event.metadata().level() {
            Level::ERROR => Priority::Error,
            Level::WARN => Priority::Warning,
            Level::INFO => Priority::Info,
            Level::DEBUG | Level::TRACE => Priority::Debug,
        };
        // Fields stand in the message too: `journalctl` shows nothing else of a line.
        let mut message = line.message;
        for (name, value) in &line.fields {
            let _ = write!(message, " {name}={value:?}");
        }
        let mut entry = Entry::new(priority, &message).with("TARGET", event.metadata().target());
        for (name, value) in &line.fields {
            entry = entry.with(name, value);
        }
        let _ = self.0.clone().write_all(entry.as_bytes());
    }
}

/// One line's message and fields.
#[derive(Default)]
struct LogLine {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for LogLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl LogLine {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}
