//! The real binary as a child process, a configuration for it, and what a test asks of it over real sockets.
//!
//! Nothing here sleeps for a while in the hope that something has happened: [`Daemon::wait_for`] polls a value and, when
//! it gives up, prints the last one with the log.
#![allow(dead_code, unreachable_pub, reason = "a toolbox: each test file uses its part")]

use std::fmt::{Debug, Write as _};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use fake_sts::FakeSts;
use fake_sts::patience::POLL;
pub use fake_sts::patience::{PATIENCE, pause, wait_for};
use fake_sts::supervisor::Supervisor;

/// What signs requests to STS.
pub const BASE_KEY: &str = "AKIAROLETAPBASEKEY22";
/// Its secret, which must be seen nowhere.
pub const BASE_SECRET: &str = "kBase5ecretOf+the/wire0tier1234567890abc";
const BINARY: &str = env!("CARGO_BIN_EXE_roletap");

/// A role's ARN, from its name.
pub fn arn(role: &str) -> String {
    format!("arn:aws:iam::111122223333:role/{role}")
}

/// A loopback port that nobody else is given while this lives.
#[derive(Debug)]
pub struct Port {
    pub address: SocketAddr,
    /// Bound, never listening: the daemon listens beside it.
    _held: TcpSocket,
}

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("to share with the daemon");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        Self { address: socket.local_addr().expect("an address"), _held: socket }
    }
}

/// What the configuration says beside addresses and paths; each field is TOML.
#[derive(Debug, Clone, Default)]
pub struct Text {
    pub server: String,
    pub log: String,
    pub sts: String,
    pub defaults: String,
    /// Whole `[source.*]` tables.
    pub sources: String,
    /// Whole `[imds.*]` tables.
    pub fronts: String,
    /// By name, in order.
    pub roles: Vec<(String, String)>,
}

/// A daemon that has not been started yet.
#[derive(Debug)]
pub struct Setup {
    text: Text,
    env: Vec<(String, String)>,
    home: TempDir,
    vend: Port,
    admin: Port,
    listen: String,
    endpoint: String,
}

/// A daemon for this STS, without roles.
pub fn with(sts: &FakeSts) -> Setup {
    let vend = Port::reserve();
    Setup {
        text: Text::default(),
        env: [
            ("AWS_ACCESS_KEY_ID", BASE_KEY),
            ("AWS_SECRET_ACCESS_KEY", BASE_SECRET),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        home: tempfile::tempdir().expect("a directory"),
        listen: format!("\"{}\"", vend.address),
        vend,
        admin: Port::reserve(),
        endpoint: sts.endpoint_url(),
    }
}

impl Setup {
    /// A role of its own ARN.
    pub fn role(self, name: &str) -> Self {
        self.role_with(name, "")
    }

    /// The same with more keys; an ARN among them wins.
    pub fn role_with(mut self, name: &str, keys: &str) -> Self {
        self.text.set_role(name, keys);
        self
    }

    /// More keys of `[server]`.
    pub fn server(mut self, keys: &str) -> Self {
        self.text.server.push_str(&format!("{keys}\n"));
        self
    }

    /// More keys of `[log]`.
    pub fn log(mut self, keys: &str) -> Self {
        self.text.log.push_str(&format!("{keys}\n"));
        self
    }

    /// Another `endpoint_url`.
    pub fn endpoint(mut self, url: &str) -> Self {
        url.clone_into(&mut self.endpoint);
        self
    }

    /// More keys of `[sts]`.
    pub fn sts(mut self, keys: &str) -> Self {
        self.text.sts.push_str(&format!("{keys}\n"));
        self
    }

    /// A whole `[source.NAME]`.
    pub fn source(mut self, name: &str, keys: &str) -> Self {
        self.text.sources.push_str(&format!("[source.{name}]\n{keys}\n"));
        self
    }

    /// A whole `[imds.NAME]`.
    pub fn front(mut self, name: &str, keys: &str) -> Self {
        self.text.fronts.push_str(&format!("[imds.{name}]\n{keys}\n"));
        self
    }

    /// Without the base identity in the environment.
    pub fn without_base(self) -> Self {
        self.without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY")
    }

    /// More keys of `[defaults]`.
    pub fn defaults(mut self, keys: &str) -> Self {
        self.text.defaults.push_str(&format!("{keys}\n"));
        self
    }

    /// Sessions of a few seconds.
    pub fn sessions_of(self, seconds: u32) -> Self {
        self.sts("unsafe_short_sessions = true").defaults(&format!("duration_seconds = {seconds}"))
    }

    /// Also listens here.
    pub fn also_listen(mut self, address: &str) -> Self {
        self.listen.push_str(&format!(", \"{address}\""));
        self
    }

    /// One more variable in the daemon's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One variable fewer.
    pub fn without_env(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// The directory that everything lies in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where credentials will be.
    pub fn vend_address(&self) -> SocketAddr {
        self.vend.address
    }

    /// Under a supervisor that takes notifications, keeps descriptors and holds both sockets open.
    pub fn supervised(self) -> Supervised {
        let (vend, admin) = (self.vend.address, self.admin.address);
        let mut supervised = self.notified();
        supervised.supervisor.listen("credentials", vend);
        supervised.supervisor.listen("admin", admin);
        supervised
    }

    /// The same, but the daemon binds its sockets itself.
    pub fn notified(self) -> Supervised {
        Supervised { supervisor: Supervisor::start(self.home()), daemon: self.prepare() }
    }

    /// Starts the binary, and waits until it serves.
    pub fn start(self) -> Daemon {
        let mut daemon = self.prepare();
        daemon.launch();
        daemon
    }

    /// Writes the configuration, and starts nothing.
    pub fn prepare(self) -> Daemon {
        let daemon = Daemon {
            text: self.text,
            child: None,
            log: Log::default(),
            env: self.env,
            home: self.home,
            vend: self.vend,
            admin: self.admin,
            listen: self.listen,
            endpoint: self.endpoint,
        };
        daemon.write_config();
        daemon
    }
}

impl Text {
    /// Adds the role, or replaces its keys.
    pub fn set_role(&mut self, name: &str, keys: &str) {
        let keys = if keys.contains("role_arn") {
            format!("{keys}\n")
        } else {
            format!("role_arn = \"{}\"\n{keys}\n", arn(name))
        };
        match self.roles.iter_mut().find(|(known, _)| known == name) {
            Some((_, before)) => *before = keys,
            None => self.roles.push((name.to_owned(), keys)),
        }
    }

    /// Takes the role out.
    pub fn remove_role(&mut self, name: &str) {
        self.roles.retain(|(known, _)| known != name);
    }
}

/// Lines of standard error, as they come.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn follow(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.0.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        })
    }
}

#[derive(Debug)]
struct Running {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

/// A daemon with its configuration. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    pub text: Text,
    child: Option<Running>,
    log: Log,
    env: Vec<(String, String)>,
    home: TempDir,
    vend: Port,
    admin: Port,
    listen: String,
    endpoint: String,
}

/// A daemon and its supervisor.
#[derive(Debug)]
pub struct Supervised {
    pub daemon: Daemon,
    pub supervisor: Supervisor,
}

impl Supervised {
    /// Starts the binary with all that the supervisor has for it, and waits until it serves.
    pub fn launch(&mut self) {
        let command = self.supervisor.supervise(&self.daemon.command(&["run"]));
        self.daemon.spawn_as(command);
        self.daemon.wait_until_serving();
    }
}

/// The command in namespaces of its own, after this script; `None`, said aloud, where the machine allows none.
pub fn unshared(namespaces: &[&str], script: &str, command: &Command) -> Option<Command> {
    let unshare = |tail: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(namespaces);
        if !nix::unistd::Uid::effective().is_root() {
            unshare.arg("--map-root-user");
        }
        unshare.args(["sh", "-c"]).args(tail);
        unshare
    };
    let probe = unshare(&[&format!("set -e\n{script}")]).stdin(Stdio::null()).output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        println!("SKIPPED: this machine allows no `unshare {namespaces:?}`: {probe:?}");
        return None;
    }
    let mut unshared = unshare(&[&format!("set -e\n{script}\nexec \"$@\""), "sh"]);
    unshared
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(unshared)
}

/// What a finished command left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Daemon {
    // === the process ===

    /// Starts the binary, and waits until it serves.
    pub fn launch(&mut self) {
        self.spawn();
        self.wait_until_serving();
    }

    /// Waits until it serves.
    pub fn wait_until_serving(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.admin_if_up("/livez").is_none_or(|answer| answer.status != 200) {
            assert!(self.is_alive(), "the daemon has ended");
            assert!(Instant::now() < deadline, "the daemon does not serve");
            pause(POLL);
        }
    }

    /// Starts the binary, and waits for nothing.
    pub fn spawn(&mut self) {
        self.spawn_as(self.command(&["run"]));
    }

    /// The same, started by this.
    pub fn spawn_as(&mut self, mut command: Command) {
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
    pub fn command(&self, arguments: &[&str]) -> Command {
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
    pub fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments))
    }

    /// The same as another user.
    pub fn run_as(&self, uid: u32, arguments: &[&str]) -> Finished {
        finish(self.command(arguments).uid(uid).gid(uid))
    }

    pub fn signal(&self, signal: Signal) {
        let Some(running) = &self.child else { panic!("nothing runs") };
        let pid = Pid::from_raw(i32::try_from(running.child.id()).expect("a pid"));
        kill(pid, signal).expect("to signal our own child");
    }

    /// Of the process that was started.
    pub fn pid(&self) -> i32 {
        let running = self.child.as_ref().expect("a running daemon");
        i32::try_from(running.child.id()).expect("a pid")
    }

    /// Waits until the process ends by itself, and gives its exit code. All of its log is in then.
    pub fn exit(&mut self) -> Option<i32> {
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
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// SIGTERM, and what came of it.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.exit()
    }

    /// Everything on standard error so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The first line of the log that holds `text`, once there is one.
    pub fn logged(&self, text: &str) -> String {
        self.wait_until("the log says so", |daemon| {
            let log = daemon.log();
            let found = log.lines().find(|line| line.contains(text)).map(str::to_owned);
            found.ok_or_else(|| format!("no line with {text:?}"))
        })
    }

    // === the configuration ===

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.home.path().join("roletap.toml")
    }

    pub fn token_path(&self, role: &str) -> PathBuf {
        self.home.path().join("tokens").join(role)
    }

    pub fn rendered(&self) -> String {
        let mut out = format!(
            "[server]\nlisten = [{}]\ntoken_dir = \"{}\"\n{}\n[admin]\nlisten = [\"{}\"]\n\n[log]\n{}\n[sts]\n\
             region = \"eu-central-1\"\nendpoint_url = \"{}\"\n{}\n[defaults]\n{}\n",
            self.listen,
            self.home.path().join("tokens").display(),
            self.text.server,
            self.admin.address,
            self.text.log,
            self.endpoint,
            self.text.sts,
            self.text.defaults,
        );
        out.push_str(&self.text.sources);
        out.push_str(&self.text.fronts);
        for (name, keys) in &self.text.roles {
            let _ = writeln!(out, "[role.{name}]\n{keys}");
        }
        out
    }

    pub fn write_config(&self) {
        std::fs::write(self.config_path(), self.rendered()).expect("to write the configuration");
    }

    /// Another STS, from the next configuration on.
    pub fn set_endpoint(&mut self, url: &str) {
        url.clone_into(&mut self.endpoint);
    }

    /// Writes the configuration and reloads it, which must be applied.
    pub fn reload(&self) {
        self.write_config();
        self.reload_as_it_is("applied");
    }

    /// SIGHUP, and waits until it has had this result.
    pub fn reload_as_it_is(&self, result: &str) {
        let count = |daemon: &Self| {
            daemon.metric("roletap_config_reloads_total", &[("result", result)]).unwrap_or_default()
        };
        let before = count(self);
        self.signal(Signal::SIGHUP);
        self.wait_until(&format!("the reload is {result}"), |daemon| {
            let now = count(daemon);
            (now > before).then_some(()).ok_or_else(|| format!("{before}, then {now}"))
        });
    }

    // === what workloads do ===

    pub fn vend_address(&self) -> SocketAddr {
        self.vend.address
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// The role's token, as it lies in its file.
    pub fn token(&self, role: &str) -> String {
        std::fs::read_to_string(self.token_path(role)).expect("a token file")
    }

    /// As an SDK asks for a role.
    pub fn get(&self, role: &str) -> Answer {
        self.get_with(role, &self.token(role))
    }

    /// The same with this `Authorization`.
    pub fn get_with(&self, role: &str, authorization: &str) -> Answer {
        self.ask("GET", &format!("/v1/credentials/{role}"), &[("Authorization", authorization)])
    }

    /// A request to the credentials endpoint. `Host` is ours unless it is among the headers.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = request(self.vend.address, method, path, headers);
        self.raw(request.as_bytes())
    }

    /// These bytes on a connection of their own, and the one answer to them.
    pub fn raw(&self, request: &[u8]) -> Answer {
        let mut connection = self.connect();
        connection.send(request);
        connection.answer()
    }

    pub fn connect(&self) -> Connection {
        Connection::to(self.vend.address)
    }

    /// Waits until the role's credentials are vended.
    pub fn vended(&self, role: &str) -> Value {
        self.wait_until("credentials are vended", |daemon| {
            let answer = daemon.get(role);
            if answer.status == 200 {
                Ok(answer.json())
            } else {
                Err(format!("{} {}", answer.status, answer.text()))
            }
        })
    }

    /// The access key id that is vended.
    pub fn key(&self, role: &str) -> String {
        text(&self.vended(role)["AccessKeyId"])
    }

    // === what operators do ===

    pub fn admin(&self, path: &str) -> Answer {
        self.admin_with("GET", path)
    }

    pub fn admin_with(&self, method: &str, path: &str) -> Answer {
        let request = request(self.admin.address, method, path, &[]);
        let mut connection = Connection::to(self.admin.address);
        connection.send(request.as_bytes());
        connection.answer()
    }

    fn admin_if_up(&self, path: &str) -> Option<Answer> {
        TcpStream::connect(self.admin.address).is_ok().then(|| self.admin(path))
    }

    /// `/roles`
    pub fn overview(&self) -> Value {
        self.admin("/roles").json()
    }

    /// One role of `/roles`; null if it is not there.
    pub fn role(&self, name: &str) -> Value {
        let overview = self.overview();
        let roles = overview["roles"].as_array().cloned().unwrap_or_default();
        roles.into_iter().find(|role| role["name"] == name).unwrap_or_default()
    }

    /// One role, once this holds of it.
    pub fn role_when(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(&format!("{name} {what}"), |daemon| {
            let role = daemon.role(name);
            if holds(&role) { Ok(role) } else { Err(role.to_string()) }
        })
    }

    /// One role, once its last error is of this class.
    pub fn failed(&self, name: &str, class: &str) -> Value {
        self.role_when(name, &format!("fails as {class}"), |role| {
            role["last_error"]["class"] == class
        })
    }

    /// The sum of the series of this name that have these labels; `None` where there is none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        metric_in(&self.admin("/metrics").text(), name, labels)
    }

    /// Polls until this holds; gives up with the last value, and [`Drop`] adds the log.
    pub fn wait_until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Result<T, String>) -> T {
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

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Finished {
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A JSON string's text.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A request's head.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut out = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        let _ = write!(out, "Host: {address}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out + "\r\n"
}

/// The sum of the series of this name that have these labels; `None` where there is none.
pub fn metric_in(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let series = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (has, value) = rest.rsplit_once(' ')?;
        let ours = (has.is_empty() || has.starts_with('{'))
            && labels.iter().all(|(label, value)| has.contains(&format!("{label}=\"{value}\"")));
        ours.then(|| value.parse::<f64>().ok()).flatten()
    });
    series.fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}

/// One HTTP answer.
#[derive(Clone, PartialEq)]
pub struct Answer {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} twice: {self:?}");
        first
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {:?} {:?}",
            self.version,
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// A connection, byte by byte.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// How it ended, unless in order.
    broken: Option<std::io::Error>,
}

impl Connection {
    pub fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("a connection"))
    }

    /// One that somebody has made.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, read: Vec::new(), broken: None }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("to send");
    }

    /// Sends what the other side may not want to read any more.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next answer, whole.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").map(|text| text.parse().expect("a length"));
        let length: usize = length.unwrap_or(0);
        while self.read.len() < length {
            assert!(self.more() > 0, "the body ends early: {answer:?}");
        }
        answer.body = self.read.drain(..length).collect();
        answer
    }

    /// The next answer's head; of a HEAD request that is all.
    pub fn head(&mut self) -> Answer {
        self.try_head().unwrap_or_else(|| {
            panic!("closed without an answer ({:?}); got {:?}", self.broken, self.seen())
        })
    }

    /// The same; `None` if the connection ends first.
    pub fn try_head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if self.more() == 0 {
                return None;
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a head of text");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap_or_default().to_owned();
        let mut words = status_line.split(' ');
        Some(Answer {
            version: words.next().unwrap_or_default().to_owned(),
            status: words.next().and_then(|code| code.parse().ok()).expect("a status"),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: Vec::new(),
        })
    }

    /// Whether the other side has closed, once it has or the time is over.
    pub fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.more() == 0
    }

    /// Whether something has come, or the end.
    pub fn has_something(&mut self) -> bool {
        let _ = self.stream.set_nonblocking(true);
        let something = self.stream.peek(&mut [0]).is_ok();
        let _ = self.stream.set_nonblocking(false);
        something
    }

    /// What was read and not yet asked for.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Reads once; 0 at the end of the connection, however it came about.
    fn more(&mut self) -> usize {
        let mut buffer = [0; 16 * 1024];
        loop {
            return match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.read.extend_from_slice(&buffer[..count]);
                    count
                }
                // A process that was stopped and goes on is interrupted in every read that has a deadline.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing comes; got {:?}", self.seen())
                }
                Err(error) => {
                    self.broken = Some(error);
                    0
                }
            };
        }
    }
}
