//! A daemon before its start: a directory, ports, an environment and a configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use fake_sts::FakeSts;
use fake_sts::supervisor::Supervisor;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::configuration::Text;
use super::log::Log;
use super::{BASE_KEY, BASE_SECRET, Daemon, Supervised};

/// A loopback port that nobody else is given while this lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    /// Bound, never listening: the daemon listens beside it.
    _held: TcpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("to share with the daemon");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        Self { address: socket.local_addr().expect("an address"), _held: socket }
    }
}

/// A daemon that has not been started yet.
#[derive(Debug)]
pub(crate) struct Setup {
    text: Text,
    env: Vec<(String, String)>,
    home: TempDir,
    vend: Port,
    admin: Port,
    listen: String,
    endpoint: String,
}

/// A daemon for this STS, without roles.
pub(crate) fn with(sts: &FakeSts) -> Setup {
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
    pub(crate) fn role(self, name: &str) -> Self {
        self.role_with(name, "")
    }

    /// The same with more keys; an ARN among them wins.
    pub(crate) fn role_with(mut self, name: &str, keys: &str) -> Self {
        self.text.set_role(name, keys);
        self
    }

    /// More keys of `[server]`.
    pub(crate) fn server(mut self, keys: &str) -> Self {
        self.text.server.push_str(&format!("{keys}\n"));
        self
    }

    /// More keys of `[log]`.
    pub(crate) fn log(mut self, keys: &str) -> Self {
        self.text.log.push_str(&format!("{keys}\n"));
        self
    }

    /// Another `endpoint_url`.
    pub(crate) fn endpoint(mut self, url: &str) -> Self {
        url.clone_into(&mut self.endpoint);
        self
    }

    /// More keys of `[sts]`.
    pub(crate) fn sts(mut self, keys: &str) -> Self {
        self.text.sts.push_str(&format!("{keys}\n"));
        self
    }

    /// A whole `[source.NAME]`.
    pub(crate) fn source(mut self, name: &str, keys: &str) -> Self {
        self.text.sources.push_str(&format!("[source.{name}]\n{keys}\n"));
        self
    }

    /// A whole `[imds.NAME]`.
    pub(crate) fn front(mut self, name: &str, keys: &str) -> Self {
        self.text.fronts.push_str(&format!("[imds.{name}]\n{keys}\n"));
        self
    }

    /// Without the base identity in the environment.
    pub(crate) fn without_base(self) -> Self {
        self.without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY")
    }

    /// More keys of `[defaults]`.
    pub(crate) fn defaults(mut self, keys: &str) -> Self {
        self.text.defaults.push_str(&format!("{keys}\n"));
        self
    }

    /// Sessions of a few seconds.
    pub(crate) fn sessions_of(self, seconds: u32) -> Self {
        self.sts("unsafe_short_sessions = true").defaults(&format!("duration_seconds = {seconds}"))
    }

    /// Also listens here.
    pub(crate) fn also_listen(mut self, address: &str) -> Self {
        self.listen.push_str(&format!(", \"{address}\""));
        self
    }

    /// One more variable in the daemon's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One variable fewer.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// The directory that everything lies in.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where credentials will be.
    pub(crate) fn vend_address(&self) -> SocketAddr {
        self.vend.address
    }

    /// Under a supervisor that takes notifications, keeps descriptors and holds both sockets open.
    pub(crate) fn supervised(self) -> Supervised {
        let (vend, admin) = (self.vend.address, self.admin.address);
        let mut supervised = self.notified();
        supervised.supervisor.listen("credentials", vend);
        supervised.supervisor.listen("admin", admin);
        supervised
    }

    /// The same, but the daemon binds its sockets itself.
    pub(crate) fn notified(self) -> Supervised {
        Supervised { supervisor: Supervisor::start(self.home()), daemon: self.prepare() }
    }

    /// Starts the binary, and waits until it serves.
    pub(crate) fn start(self) -> Daemon {
        let mut daemon = self.prepare();
        daemon.launch();
        daemon
    }

    /// Writes the configuration, and starts nothing.
    pub(crate) fn prepare(self) -> Daemon {
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
