//! The daemon as a child process under a supervisor that keeps its sockets open and its store, and its admin endpoint.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Failed;
use crate::client::Connection;
use crate::pause;
use fake_sts::supervisor::Supervisor;

/// The argument that makes the example the daemon.
pub(crate) const ARGUMENT: &str = "daemon";
/// What signs requests to STS.
pub(crate) const BASE_KEY: &str = "AKIAROLETAPCHAOS0000";
/// Its secret, which must be seen nowhere.
pub(crate) const BASE_SECRET: &str = "kBase5ecretOf+the/chaos0run1234567890abc";

/// A daemon; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    binary: Option<PathBuf>,
    config: PathBuf,
    stderr: PathBuf,
    admin: SocketAddr,
    supervisor: Supervisor,
    child: Option<Child>,
}

impl Daemon {
    pub(crate) fn new(
        binary: Option<PathBuf>,
        config: PathBuf,
        stderr: PathBuf,
        vend: SocketAddr,
        admin: SocketAddr,
    ) -> Self {
        let home = config.parent().unwrap_or(Path::new("."));
        let mut supervisor = Supervisor::start(home);
        supervisor.listen("credentials", vend);
        supervisor.listen("admin", admin);
        Self { binary, config, stderr, admin, supervisor, child: None }
    }

    /// Starts the process, and waits until it serves.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        let mut command = match &self.binary {
            Some(binary) => {
                let mut command = Command::new(binary);
                command.args(["run", "--config"]);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(ARGUMENT);
                command
            }
        };
        let log = OpenOptions::new().create(true).append(true).open(&self.stderr)?;
        command
            .arg(&self.config)
            .env("AWS_ACCESS_KEY_ID", BASE_KEY)
            .env("AWS_SECRET_ACCESS_KEY", BASE_SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HOME", "/nonexistent");
        // With no environment but this.
        let child = self
            .supervisor
            .supervise(&command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while admin(self.admin, "GET", "/livez").is_none_or(|(status, _)| status != 200) {
            if self.has_ended() || Instant::now() > deadline {
                return Err(format!("the daemon does not serve:\n{}", self.last_words()).into());
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let child = self.child.as_ref().ok_or("no daemon runs")?;
        Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(&mut self, patience: Duration) -> Result<ExitStatus, Failed> {
        let deadline = Instant::now() + patience;
        let child = self.child.as_mut().ok_or("no daemon runs")?;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(format!("it has not ended within {patience:?}").into());
            }
            pause(Duration::from_millis(2));
        }
    }

    /// Whether it has ended unasked.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One request to the admin endpoint: the status and the body, if it answers.
pub(crate) fn admin(address: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    let mut connection = Connection::to(address).ok()?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.send(request.as_bytes()).ok()?;
    let answer = connection.answer(false).ok()?;
    Some((answer.status, String::from_utf8(answer.body).ok()?))
}

/// Every series of `/metrics`, by name and labels.
pub(crate) fn metrics(address: SocketAddr) -> Option<HashMap<String, f64>> {
    let (status, text) = admin(address, "GET", "/metrics")?;
    let series = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect();
    (status == 200).then_some(series)
}

/// Reads what lies there, or nothing.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
