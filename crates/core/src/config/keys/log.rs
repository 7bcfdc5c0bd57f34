//! `[log]`.

use std::path::Path;

use super::server::absolute_path;
use crate::config::toml::Section;
use crate::config::{AuditSink, Log, LogFormat, LogLevel};
use crate::role::InvalidValue;

const FORMATS: &[(&str, LogFormat)] =
    &[("text", LogFormat::Text), ("json", LogFormat::Json), ("journald", LogFormat::Journald)];
const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

pub(crate) fn read(section: Section<'_>) -> Log {
    let format = section.choice("format", FORMATS, "\"text\", \"json\" or \"journald\"");
    let level =
        section.choice("level", LEVELS, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"");
    let audit = section.text("audit", audit_sink);
    section.finish();
    Log {
        format: format.unwrap_or(LogFormat::Text),
        level: level.unwrap_or(LogLevel::Info),
        audit: audit.unwrap_or(AuditSink::Stderr),
    }
}

fn audit_sink(text: &str) -> Result<AuditSink, InvalidValue> {
    const EXPECTED: &str = "\"stderr\", \"journald\", \"off\" or the absolute path of a file";
    match text {
        "stderr" => Ok(AuditSink::Stderr),
        "off" => Ok(AuditSink::Off),
        "journald" => Ok(AuditSink::Journald),
        path if Path::new(path).is_absolute() => absolute_path(path).map(AuditSink::File),
        other => Err(InvalidValue::not_one_of(other, EXPECTED)),
    }
}
