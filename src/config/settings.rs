//! Reads `[server]`, `[admin]`, `[log]` and `[sts]`, with every default.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::durations::{Timed, duration, millis};
use super::imds::Fronts;
use super::listen;
use super::problem::Problem;
use super::reading::Reading;
use super::region;
use super::roles::StsFacts;
use super::section::Section;
use super::value::At;
use super::{AuditSink, Log, LogFormat, LogLevel, Server, Sts};
use crate::role::InvalidValue;

const SERVER_PORT: u16 = 5169;
const ADMIN_PORT: u16 = 5170;
const TOKEN_DIR: &str = "/run/roletap/tokens";

/// Where the endpoints listen.
pub(super) struct Listeners {
    pub(super) server: Vec<SocketAddr>,
    pub(super) admin: Vec<SocketAddr>,
}

impl Listeners {
    /// Reads both, and looks at all at once, since none may clash with another.
    pub(super) fn read(
        server: &mut Section<'_>,
        admin: &mut Section<'_>,
        imds: &Fronts,
        reading: &mut Reading<'_>,
    ) -> Self {
        let server = listen::read(server, SERVER_PORT, reading);
        let admin = listen::read(admin, ADMIN_PORT, reading);
        let all: Vec<_> = server
            .iter()
            .map(|listen| ("server.listen", listen))
            .chain(admin.iter().map(|listen| ("admin.listen", listen)))
            .chain(imds.listens())
            .collect();
        listen::check_distinct(&all, reading);
        let addresses = |all: &[listen::Listen]| all.iter().map(|listen| listen.addr).collect();
        Self { server: addresses(&server), admin: addresses(&admin) }
    }
}

pub(super) fn read_server(
    mut section: Section<'_>,
    listen: Vec<SocketAddr>,
    reading: &mut Reading<'_>,
) -> Server {
    let server = Server {
        listen,
        token_dir: section
            .text("token_dir", reading, absolute_path)
            .map_or_else(|| PathBuf::from(TOKEN_DIR), |found| found.value),
        // The smallest timeout of a client is 1 s, and some of it is the client's own.
        pending_wait: duration(
            &mut section,
            "pending_wait",
            millis(400),
            millis(0)..=millis(1000),
            reading,
        )
        .value,
        max_connections: number(&mut section, "max_connections", 1024, 1..=65_536, reading),
        shutdown_grace: duration(
            &mut section,
            "shutdown_grace",
            millis(10_000),
            millis(0)..=millis(300_000),
            reading,
        )
        .value,
    };
    section.finish(reading);
    server
}

pub(super) fn read_log(mut section: Section<'_>, reading: &mut Reading<'_>) -> Log {
    let format = section.text("format", reading, |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        "journald" => Ok(LogFormat::Journald),
        other => Err(not_one_of(other, "\"text\", \"json\" or \"journald\"")),
    });
    let level = section.text("level", reading, |text| match text {
        "error" => Ok(LogLevel::Error),
        "warn" => Ok(LogLevel::Warn),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "trace" => Ok(LogLevel::Trace),
        other => Err(not_one_of(other, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"")),
    });
    let audit = section.text("audit", reading, |text| match text {
        "stderr" => Ok(AuditSink::Stderr),
        "off" => Ok(AuditSink::Off),
        "journald" => Ok(AuditSink::Journald),
        path if Path::new(path).is_absolute() => absolute_path(path).map(AuditSink::File),
        other => Err(not_one_of(
            other,
            "\"stderr\", \"journald\", \"off\" or the absolute path of a file",
        )),
    });
    section.finish(reading);
    Log {
        format: format.map_or(LogFormat::Text, |found| found.value),
        level: level.map_or(LogLevel::Info, |found| found.value),
        audit: audit.map_or(AuditSink::Stderr, |found| found.value),
    }
}

/// What roles need to know first.
pub(super) fn read_sts_facts(section: &mut Section<'_>, reading: &mut Reading<'_>) -> StsFacts {
    let custom_endpoint = section.has("endpoint_url");
    StsFacts {
        region: section.text("region", reading, |text| region::region(text, custom_endpoint)),
        custom_endpoint,
        unsafe_short_sessions: section
            .boolean("unsafe_short_sessions", reading)
            .is_some_and(|found| found.value),
    }
}

pub(super) fn read_sts(
    mut section: Section<'_>,
    facts: &StsFacts,
    main_is_sound: bool,
    reading: &mut Reading<'_>,
) -> Option<Sts> {
    if main_is_sound && !section.has("region") {
        let help = "add region = \"eu-central-1\" or the like below [sts]: the regional endpoint is always used";
        section.missing("region", help, reading);
    }
    let endpoint_url = section.text("endpoint_url", reading, endpoint_url);
    let use_fips = flag(&mut section, "use_fips", endpoint_url.as_ref(), reading);
    let use_dual_stack = flag(&mut section, "use_dual_stack", endpoint_url.as_ref(), reading);
    let fallback_regions =
        region::read_fallbacks(&mut section, facts.region.as_ref(), endpoint_url.as_ref(), reading);
    let connect_timeout = duration(
        &mut section,
        "connect_timeout",
        millis(2000),
        millis(100)..=millis(30_000),
        reading,
    );
    let attempt_timeout = duration(
        &mut section,
        "attempt_timeout",
        millis(5000),
        millis(500)..=millis(60_000),
        reading,
    );
    check_timeouts(&connect_timeout, &attempt_timeout, reading);
    let max_requests_per_second =
        number(&mut section, "max_requests_per_second", 10, 1..=600, reading);
    let max_in_flight = number(&mut section, "max_in_flight", 8, 1..=256, reading);
    let own_account_ids = read_own_accounts(&mut section, reading);
    section.finish(reading);
    Some(Sts {
        region: facts.region.as_ref()?.value.clone(),
        fallback_regions,
        endpoint_url: endpoint_url.map(|found| found.value),
        use_fips,
        use_dual_stack,
        max_requests_per_second,
        max_in_flight,
        connect_timeout: connect_timeout.value,
        attempt_timeout: attempt_timeout.value,
        unsafe_short_sessions: facts.unsafe_short_sessions,
        own_account_ids,
    })
}

fn read_own_accounts(section: &mut Section<'_>, reading: &mut Reading<'_>) -> Vec<String> {
    let Some(found) = section.strings("own_account_ids", reading) else {
        return Vec::new();
    };
    for item in &found.value {
        let digits = item.value.bytes().all(|b| b.is_ascii_digit());
        if !digits || item.value.len() != 12 {
            let refused = InvalidValue::new(
                format!("is `{}`", item.value.escape_debug()),
                "expected 12 digits in quotes, without dashes",
            );
            reading.refuse(&item.at, "an entry of `own_account_ids`", &refused);
        }
    }
    found.value.iter().map(|item| item.value.to_owned()).collect()
}

fn endpoint_url(text: &str) -> Result<String, InvalidValue> {
    const EXPECTED: &str = "expected https://HOST or http://HOST:PORT";
    // Any region shows whether the rest is a URL.
    let example = text.replace(region::PLACEHOLDER, "eu-central-1");
    if example.contains(['{', '}']) {
        return Err(InvalidValue::new(
            "holds braces",
            "expected none but those of {region}, which stands for the region that is asked",
        ));
    }
    let uri: http::Uri =
        example.parse().map_err(|_| InvalidValue::new("is not a URL", EXPECTED))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(InvalidValue::new("does not begin with https:// or http://", EXPECTED));
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err(InvalidValue::new(
            "holds a user name or a password",
            "requests to STS are signed, so remove it, and replace the password: it was in this file",
        ));
    }
    if uri.query().is_some() {
        return Err(InvalidValue::new("has a query", "remove the part from `?` on"));
    }
    Ok(text.to_owned())
}

/// A choice of endpoint, which makes no sense beside an endpoint of one's own: the SDK refuses the two at each call.
fn flag(
    section: &mut Section<'_>,
    key: &'static str,
    endpoint_url: Option<&At<String>>,
    reading: &mut Reading<'_>,
) -> bool {
    let Some(found) = section.boolean(key, reading) else {
        return false;
    };
    if let Some(url) = endpoint_url.filter(|_| found.value) {
        reading.problem(
            Problem::new(found.at, format!("`{key}` and `endpoint_url` exclude each other"))
                .and("this one", url.at.clone(), "the other one")
                .help("give the URL of the endpoint that you mean, and remove the other key"),
        );
    }
    found.value
}

fn check_timeouts(connect: &Timed, attempt: &Timed, reading: &mut Reading<'_>) {
    if connect.value <= attempt.value {
        return;
    }
    let problem = match (&connect.at, &attempt.at) {
        (Some(at), Some(other)) => Problem::new(
            at.clone(),
            "`connect_timeout` is longer than `attempt_timeout`",
        )
        .and("this one", other.clone(), "the other one"),
        (Some(at), None) => Problem::new(
            at.clone(),
            "`connect_timeout` is longer than `attempt_timeout`, which is 5s",
        ),
        (None, Some(at)) => Problem::new(
            at.clone(),
            "`attempt_timeout` is shorter than `connect_timeout`, which is 2s",
        ),
        (None, None) => return,
    };
    reading.problem(problem.help("an attempt includes its connection: give it more time"));
}

fn number<T: TryFrom<i64>>(
    section: &mut Section<'_>,
    key: &'static str,
    default: T,
    range: RangeInclusive<i64>,
    reading: &mut Reading<'_>,
) -> T {
    let found = section.integer(key, reading, |value| {
        let refused = || {
            InvalidValue::new(
                format!("is {value}"),
                format!("expected {} to {}", range.start(), range.end()),
            )
        };
        if !range.contains(&value) {
            return Err(refused());
        }
        T::try_from(value).map_err(|_| refused())
    });
    found.map_or(default, |found| found.value)
}

fn absolute_path(text: &str) -> Result<PathBuf, InvalidValue> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(InvalidValue::new(
            "is not an absolute path",
            "expected one that begins with `/`: the daemon may be started anywhere",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidValue::new("holds a control character", "expected a plain path"));
    }
    Ok(path.to_owned())
}

fn not_one_of(found: &str, expected: &str) -> InvalidValue {
    InvalidValue::new(format!("is `{}`", found.escape_debug()), format!("expected {expected}"))
}
