//! roletap in one command, with no AWS account: an STS on loopback, the daemon with three roles, and an application that
//! knows nothing but its SDK. Shows one whole refresh, prints what to try by hand, and stops on Ctrl-C.
//!
//! `cargo run --example demo`; with `-- --once` it ends after the tour.

#![expect(clippy::disallowed_methods, reason = "a demonstration looks at a real clock")]

mod client;

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use fake_sts::{FakeSts, Fault};
use roletap::cli::fetch::{fetch, pause};
use roletap::cli::{Arguments, execute};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const DAEMON: &str = "daemon";
const BASE_KEY: &str = "AKIAROLETAPDEMO00000";
/// Emulated sessions are this short, so that a refresh can be watched.
const SESSION_SECONDS: u32 = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(client::ARGUMENT) => client::run(),
        Some(DAEMON) => daemon(&arguments.next().unwrap_or_default()),
        once => tour(once == Some("--once")),
    }
}

/// The daemon is a process of its own, as in life.
fn daemon(config: &str) -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::try_parse_from(["roletap", "run", "--config", config])?;
    execute(arguments).map_err(|failure| failure.message.into())
}

fn tour(once: bool) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let sts = FakeSts::start().with_base_key(BASE_KEY);
    let orders = "arn:aws:iam::111122223333:role/team/orders-sink";
    let ledger = "arn:aws:iam::444455556666:role/ledger";
    let forgotten = "arn:aws:iam::777788889999:role/not-yet";
    sts.role(orders).external_id("ws-7f3a");
    sts.role(forgotten).always(Fault::access_denied());

    let home = Home::new()?;
    let (vend, admin) = (free_port()?, free_port()?);
    let config = home.0.join("roletap.toml");
    std::fs::write(
        &config,
        format!(
            r#"[server]
listen = ["127.0.0.1:{vend}"]
token_dir = "{home}/tokens"

[admin]
listen = ["127.0.0.1:{admin}"]

[log]
level = "warn"
audit = "off"

[sts]
region = "eu-central-1"
endpoint_url = "{sts}"            # the embedded STS; leave it out for AWS
unsafe_short_sessions = true     # so that a refresh can be watched

[defaults]
duration_seconds = {SESSION_SECONDS}

[role.orders]
role_arn = "{orders}"
external_id = "ws-7f3a"

[role.ledger]
role_arn = "{ledger}"

[role.forgotten]                 # its owner has not let us in yet
role_arn = "{forgotten}"
"#,
            home = home.0.display(),
            sts = sts.endpoint_url(),
        ),
    )?;
    say(&format!(
        "An STS on loopback at {}, and three roles in {}:",
        sts.endpoint_url(),
        config.display()
    ));
    let mut daemon = Daemon::start(&config)?;
    let admin = format!("http://127.0.0.1:{admin}");
    wait_until("the daemon is ready", || status_of(&format!("{admin}/readyz")) == Some(200))?;

    let url = format!("http://127.0.0.1:{vend}/v1/credentials/orders");
    let token_file = home.0.join("tokens/orders");
    let ask_sdk = || -> Result<String, Box<dyn Error>> {
        let output = client::command(&url, &token_file, &sts.endpoint_url())?.output()?;
        if !output.status.success() {
            return Err(
                format!("the client failed: {}", String::from_utf8_lossy(&output.stderr)).into()
            );
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let before = key_of(&admin, "orders").ok_or("no key yet")?;
    say("\nAn application with nothing but its SDK asks who it is:");
    say(&format!("  {}", ask_sdk()?));
    say("\nroletap refreshes ahead of expiry; nobody waits for it. Watching for it…");
    wait_until("the role is refreshed", || {
        key_of(&admin, "orders").is_some_and(|key| key != before)
    })?;
    say("Refreshed. The same application again:");
    say(&format!("  {}", ask_sdk()?));
    say("\nThe role whose owner has not let us in fails fast, and says whom to ask:");
    let arguments =
        ["roletap", "status", "--config", &config.display().to_string()].map(str::to_owned);
    execute(Arguments::try_parse_from(arguments)?).map_err(|failure| failure.message)?;
    if !once {
        say(&format!(
            r#"
Try it by hand:
  curl -s -H "Authorization: $(cat {token})" {url}
  curl -s {admin}/metrics | grep roletap_
  cargo run -q -- status --config {config}
  eval "$(cargo run -q -- env orders --config {config})"
Ctrl-C stops everything."#,
            token = token_file.display(),
            config = config.display(),
        ));
        signals.forever().next();
    }
    daemon.stop()?;
    say("\nStopped: the daemon has drained and exited by itself.");
    Ok(())
}

struct Daemon(Child);

impl Daemon {
    fn start(config: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let child = command
            .arg(DAEMON)
            .arg(config)
            .env("AWS_ACCESS_KEY_ID", BASE_KEY)
            .env("AWS_SECRET_ACCESS_KEY", "a secret of the demo")
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// As systemd would.
    fn stop(&mut self) -> Result<(), Box<dyn Error>> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
        // Ctrl-C has gone to the whole group: it may be on its way out already.
        if self.0.try_wait()?.is_none() {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        }
        let status = self.0.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the daemon ended with {status}").into())
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that goes when the demo does.
struct Home(PathBuf);

impl Home {
    fn new() -> Result<Self, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("roletap-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn free_port() -> std::io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}

fn status_of(url: &str) -> Option<u16> {
    fetch("GET", url, None).ok().map(|answer| answer.status)
}

fn key_of(admin: &str, role: &str) -> Option<String> {
    let answer = fetch("GET", &format!("{admin}/roles"), None).ok()?;
    let overview: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let roles = overview["roles"].as_array()?;
    let role = roles.iter().find(|candidate| candidate["name"] == role)?;
    role["access_key_id"].as_str().map(str::to_owned)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        if Instant::now() > deadline {
            return Err(format!("waited a minute in vain until {what}").into());
        }
        pause(Duration::from_millis(50));
    }
    Ok(())
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
