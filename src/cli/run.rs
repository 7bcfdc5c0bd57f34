//! `roletap run`: everything that can fail at start fails here, before anything is issued.

use std::io::IsTerminal;
use std::path::Path;

use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use nix::sys::{prctl, resource};

use super::{ExitStatus, Failure, load, surroundings};
use crate::audit::Audit;
use crate::daemon::{Daemon, Prepared};
use crate::server::bind_all;
use crate::signals;
use crate::tokens::{TokenProblem, Tokens};

/// Runs the daemon until a signal ends it.
pub fn run(path: &Path) -> Result<(), Failure> {
    surroundings::make_safe()?;
    close_to_onlookers();
    let loaded = load(path, "nothing was started")?;
    let config = &loaded.config;
    let events =
        signals::listen().map_err(|error| Failure::io(&error, "cannot listen to signals"))?;
    let (audit, _audit_guard) = Audit::open(&config.log.audit)
        .map_err(|error| Failure::io(&error, "cannot open the audit log (`log.audit`)"))?;
    let _log_guard = crate::log::start(&config.log);
    if let Some(names) = surroundings::removed() {
        tracing::warn!(
            "removed {names} from our own environment: the daemon must not fetch from itself"
        );
    }
    if !loaded.warnings.is_empty() {
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing::warn!("{}", loaded.warnings.render("", color).trim_end());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io(&error, "cannot start the control thread"))?;
    let clock = SharedTimeSource::new(SystemTimeSource::new());
    let _inside = runtime.enter();
    let bind = |key, addresses| {
        bind_all(addresses).map_err(|(address, error)| {
            Failure::io(
                &error,
                format!("cannot listen on {address} (`{key}`): is another roletap running there?"),
            )
        })
    };
    let credentials = bind("server.listen", &config.server.listen)?;
    let admin = bind("admin.listen", &config.admin.listen)?;
    let tokens = Tokens::prepare(config, &Tokens::default(), clock.now())
        .map_err(|problems| no_tokens(&problems))?;
    for (listener, what) in credentials
        .iter()
        .map(|l| (l, "credentials"))
        .chain(admin.iter().map(|l| (l, "admin")))
    {
        let address = listener
            .local_addr()
            .map(|address| address.to_string())
            .unwrap_or_default();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address,
            "listening for {what}"
        );
    }
    let prepared = Prepared {
        path: path.to_owned(),
        credentials,
        admin,
        tokens,
        audit,
        clock,
        loaded,
    };
    runtime.block_on(async {
        let daemon = Daemon::start(prepared)
            .map_err(|error| Failure::new(ExitStatus::Failed, format!("cannot start: {error}")))?;
        daemon.run(events).await;
        Ok(())
    })
}

/// No core dumps, and no memory for other processes of our user to read. Best effort: a container may forbid it.
fn close_to_onlookers() {
    let _ = resource::setrlimit(resource::Resource::RLIMIT_CORE, 0, 0);
    let _ = prctl::set_dumpable(false);
}

fn no_tokens(problems: &[TokenProblem]) -> Failure {
    let status = if problems.iter().any(|problem| problem.not_permitted) {
        ExitStatus::NotPermitted
    } else {
        ExitStatus::Unavailable
    };
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::new(status, lines.join("\nerror: "))
}
