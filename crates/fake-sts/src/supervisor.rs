//! What systemd is to a daemon, without systemd: a socket that takes notifications, a store of descriptors, sockets that
//! stay open over restarts, and the hand-over of all that to the next process.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::patience::wait_for;

/// The `FileDescriptorStoreMax=` of the unit.
const STORE_MAX: usize = 4;

/// Everything between two processes.
#[derive(Debug)]
pub struct Supervisor {
    state: Arc<Mutex<Notified>>,
    socket: PathBuf,
    /// By name, in the order in which they are handed over.
    sockets: Vec<(String, OwnedFd)>,
    /// Says how large its store is, as systemd 254 does.
    tells_of_store: bool,
    stop: Arc<AtomicBool>,
    receiver: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Notified {
    told: Vec<String>,
    store: Vec<(String, OwnedFd)>,
    /// How often something was stored.
    stored: usize,
    refused: usize,
    /// Keeps nothing, as where `FileDescriptorStoreMax=` is not set.
    keeps_nothing: bool,
}

impl Supervisor {
    /// Takes notifications at a socket in `home`.
    pub fn start(home: &Path) -> Self {
        let path = home.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let (state, stop) = (Arc::<Mutex<Notified>>::default(), Arc::<AtomicBool>::default());
        let receiver = {
            let (state, stop) = (state.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some((text, descriptors)) = receive(&socket) {
                        lock(&state).heed(text, descriptors);
                    }
                }
            })
        };
        Self {
            state,
            socket: path,
            sockets: Vec::new(),
            tells_of_store: true,
            stop,
            receiver: Some(receiver),
        }
    }

    /// Holds a socket open, as a socket unit with this `FileDescriptorName=` does.
    pub fn listen(&mut self, name: &str, address: SocketAddr) {
        let listener = TcpListener::bind(address).expect("to listen");
        self.hand_over(name, listener.into());
    }

    /// Hands this over at every start.
    pub fn hand_over(&mut self, name: &str, descriptor: OwnedFd) {
        self.sockets.push((name.to_owned(), descriptor));
    }

    /// As before 254.
    pub fn be_silent_about_the_store(&mut self) {
        self.tells_of_store = false;
    }

    /// As where `FileDescriptorStoreMax=` is not set.
    pub fn keep_nothing(&mut self) {
        self.tells_of_store = false;
        lock(&self.state).keeps_nothing = true;
    }

    /// The command, started as a unit's main process is.
    pub fn supervise(&self, command: &Command) -> Command {
        let state = lock(&self.state);
        let handed: Vec<&(String, OwnedFd)> = self.sockets.iter().chain(&state.store).collect();
        let names: Vec<&str> = handed.iter().map(|(name, _)| name.as_str()).collect();
        let mut supervised = Command::new("/bin/sh");
        supervised
            .args(["-c", "export LISTEN_PID=$$; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("NOTIFY_SOCKET", &self.socket);
        if self.tells_of_store {
            supervised.env("FDSTORE", STORE_MAX.to_string());
        }
        if !handed.is_empty() {
            supervised
                .env("LISTEN_FDS", handed.len().to_string())
                .env("LISTEN_FDNAMES", names.join(":"));
        }
        let mappings = handed.iter().zip(3..).map(|((_, descriptor), place)| FdMapping {
            parent_fd: descriptor.try_clone().expect("a descriptor"),
            child_fd: place,
        });
        supervised.fd_mappings(mappings.collect()).expect("distinct places");
        supervised
    }

    /// Every notification so far.
    pub fn told(&self) -> Vec<String> {
        lock(&self.state).told.clone()
    }

    /// Forgets what was told.
    pub fn forget_told(&self) {
        lock(&self.state).told.clear();
    }

    /// The first notification that holds `text`, once there is one.
    pub fn heard(&self, text: &str) -> String {
        wait_for("it is told", || {
            let told = self.told();
            let found = told.iter().find(|message| message.contains(text));
            found.cloned().ok_or_else(|| format!("no {text:?} in {told:?}"))
        })
    }

    /// How often something was stored.
    pub fn stored(&self) -> usize {
        lock(&self.state).stored
    }

    /// How often something was stored that found no room.
    pub fn refused(&self) -> usize {
        lock(&self.state).refused
    }

    /// The names of what is in the store.
    pub fn names(&self) -> Vec<String> {
        let state = lock(&self.state);
        state.store.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The one descriptor in the store, with its name.
    pub fn take(&self) -> (String, OwnedFd) {
        let mut state = lock(&self.state);
        assert_eq!(state.store.len(), 1, "{:?}", state.store);
        state.store.remove(0)
    }

    /// The bytes of the one descriptor in the store.
    pub fn bytes(&self) -> Vec<u8> {
        use std::os::unix::fs::FileExt;
        let state = lock(&self.state);
        assert_eq!(state.store.len(), 1, "{:?}", state.store);
        let file = std::fs::File::from(state.store[0].1.try_clone().expect("a descriptor"));
        let length = file.metadata().expect("metadata").len();
        let mut bytes = vec![0; usize::try_from(length).expect("a length")];
        file.read_exact_at(&mut bytes, 0).expect("to read");
        bytes
    }

    /// Puts this into the store.
    pub fn put(&self, name: &str, descriptor: impl Into<OwnedFd>) {
        let entry = (name.to_owned(), descriptor.into());
        lock(&self.state).store.push(entry);
    }

    /// Empties the store, as `systemctl stop` does.
    pub fn empty_store(&self) {
        lock(&self.state).store.clear();
    }

    /// Waits until what is stored from now on is in.
    pub fn wait_for_store(&self) {
        self.wait_for_store_after(self.stored());
    }

    /// Waits until more was stored than these many times, which [`Self::stored`] counted before what makes it so.
    pub fn wait_for_store_after(&self, before: usize) {
        wait_for("it is stored", || {
            let now = self.stored();
            (now > before).then_some(()).ok_or_else(|| format!("{now} times"))
        });
    }

    /// Waits until the store holds these bytes in one image.
    pub fn wait_until_stored(&self, bytes: &[u8]) {
        wait_for("the image holds it", || {
            let one = self.names().len() == 1;
            let holds = one && self.bytes().windows(bytes.len()).any(|part| part == bytes);
            holds.then_some(()).ok_or_else(|| format!("{:?}", self.names()))
        });
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(receiver) = self.receiver.take() {
            let _ = receiver.join();
        }
    }
}

impl Notified {
    fn heed(&mut self, text: String, descriptors: Vec<OwnedFd>) {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let name = value("FDNAME=").unwrap_or("stored").to_owned();
        if value("FDSTOREREMOVE=") == Some("1") {
            self.store.retain(|(known, _)| *known != name);
        } else if value("FDSTORE=") == Some("1") {
            for descriptor in descriptors {
                self.stored += 1;
                if self.keeps_nothing {
                    continue;
                }
                if self.store.len() < STORE_MAX {
                    self.store.push((name.clone(), descriptor));
                } else {
                    self.refused += 1;
                }
            }
        }
        // A barrier's descriptor is closed here.
        self.told.push(text);
    }
}

fn lock(state: &Mutex<Notified>) -> MutexGuard<'_, Notified> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive(socket: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut bytes = vec![0; 16 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket.as_fd(),
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .ok()?;
    let descriptors = control
        .drain()
        .filter_map(|message| {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                Some(descriptors)
            } else {
                None
            }
        })
        .flatten()
        .collect();
    bytes.truncate(received.bytes);
    Some((String::from_utf8(bytes).expect("text"), descriptors))
}
