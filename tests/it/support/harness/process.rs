//! The real binary as a child process, alone or under a supervisor.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use fake_sts::patience::{PATIENCE, POLL, pause};
use fake_sts::supervisor::Supervisor;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::configuration::Text;
use super::log::Log;
use super::{Finished, Port, finish};

const BINARY: &str = env!("CARGO_BIN_EXE_roletap");

/// A daemon with its configuration. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) text: Text,
    pub(super) child: Option<Running>,
    pub(super) log: Log,
    pub(super) env: Vec<(String, String)>,
    pub(super) home: TempDir,
    pub(super) vend: Port,
    pub(super) admin: Port,
    pub(super) listen: String,
    pub(super) endpoint: String,
}

/// A daemon and its supervisor.
#[derive(Debug)]
pub(crate) struct Supervised {
    pub(crate) daemon: Daemon,
    pub(crate) supervisor: Supervisor,
}

impl Supervised {
    /// Starts the binary with all that the supervisor has for it, and waits until it serves.
    pub(crate) fn launch(&mut self) {
        let command = self.supervisor.supervise(&self.daemon.command(&["run"]));
        self.daemon.spawn_as(command);
        self.daemon.wait_until_serving();
    }
}

#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts the binary, and waits until it serves.
    pub(crate) fn launch(&mut self) {
        self.spawn();
        self.wait_until_serving();
    }

    /// Waits until it serves.
    pub(crate) fn wait_until_serving(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.admin_if_up("/livez").is_none_or(|answer| answer.status != 200) {
            assert!(self.is_alive(), "the daemon has ended");
            assert!(Instant::now() < deadline, "the daemon does not serve");
            pause(POLL);
        }
    }

    /// Starts the binary, and waits for nothing.
    pub(crate) fn spawn(&mut self) {
        self.spawn_as(self.command(&["run"]));
    }

    /// The same, started by this.
    pub(crate) fn spawn_as(&mut self, mut command: Command) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let reader = child.stderr.take().map(|stream| self.log.follow(stream));
        self.child = Some(Running { child, reader });
    }

    /// The binary with this configuration, and an environment in which nothing is left to chance.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.env_clear();
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.home.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .arg("--config")
            .arg(self.config_path())
            .args(arguments);
        command
    }

    /// Runs a command of the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments))
    }

    /// The same as another user.
    pub(crate) fn run_as(&self, uid: u32, arguments: &[&str]) -> Finished {
        finish(self.command(arguments).uid(uid).gid(uid))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let Some(running) = &self.child else { panic!("nothing runs") };
        let pid = Pid::from_raw(i32::try_from(running.child.id()).expect("a pid"));
        kill(pid, signal).expect("to signal our own child");
    }

    /// Of the process that was started.
    pub(crate) fn pid(&self) -> i32 {
        let running = self.child.as_ref().expect("a running daemon");
        i32::try_from(running.child.id()).expect("a pid")
    }

    /// Waits until the process ends by itself, and gives its exit code. All of its log is in then.
    pub(crate) fn exit(&mut self) -> Option<i32> {
        let mut running = self.child.take().expect("a running daemon");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = running.child.try_wait().expect("our own child") {
                if let Some(reader) = running.reader.take() {
                    let _ = reader.join();
                }
                return status.code();
            }
            if Instant::now() > deadline {
                let _ = running.child.kill();
                let _ = running.child.wait();
                panic!("the daemon does not exit");
            }
            pause(POLL);
        }
    }

    /// Whether the process is there.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// SIGTERM, and what came of it.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.exit()
    }

    /// Everything on standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// The first line of the log that holds `text`, once there is one.
    pub(crate) fn logged(&self, text: &str) -> String {
        self.wait_until("the log says so", |daemon| {
            let log = daemon.log();
            let found = log.lines().find(|line| line.contains(text)).map(str::to_owned);
            found.ok_or_else(|| format!("no line with {text:?}"))
        })
    }

    /// Polls until this holds; gives up with the last value, and [`Drop`] adds the log.
    pub(crate) fn wait_until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match look(self) {
                Ok(found) => return found,
                Err(last) if Instant::now() > deadline => {
                    panic!("waited in vain until {what}; last seen: {last}")
                }
                Err(_) => pause(POLL),
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut running) = self.child.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            if let Some(reader) = running.reader.take() {
                let _ = reader.join();
            }
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(200);
            let text = format!("--- the end of its log ---\n{}\n", lines[tail..].join("\n"));
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}
