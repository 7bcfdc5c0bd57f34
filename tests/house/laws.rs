//! What the laws say, as data.

use crate::words::Pattern::{self, CalledUpon, Crate, Method, Path, Text, Word};

/// Each crate from the roof to the cellar: a room, and what it uses. Every arrow points down.
///
/// A room is a module at the crate's root, or one in it that has a row of its own. The rooms of another crate are named
/// with it: `roletap_core::role`. A row that begins with a space goes on.
pub(crate) const STOREYS: &[(&str, &str)] = &[
    (
        "roletap",
        "
cli: audit aws_hosts clock config_host daemon fd_store issuer listeners log metrics peer server
    signals source sts systemd tokens roletap_core::config roletap_core::credentials
    roletap_core::doctor roletap_core::failure roletap_core::policy roletap_core::role
    roletap_core::snapshot roletap_core::token_digest roletap_core::xml
daemon: audit clock config_host credentials_file_io fd_store fleet issuer listeners metrics peer
    refresher server signals slots source sts sts_queue systemd tokens roletap_core::backoff
    roletap_core::budget roletap_core::config roletap_core::credentials_file
    roletap_core::lifecycle roletap_core::reload roletap_core::role roletap_core::snapshot
    roletap_core::token_digest
tokens: atomic_file roletap_core::config roletap_core::role roletap_core::token_digest
signals:
server: audit clock listeners metrics peer slots source sts_queue roletap_core::caller
    roletap_core::config roletap_core::credentials roletap_core::failure roletap_core::lifecycle
    roletap_core::role roletap_core::token_digest
peer: roletap_core::caller roletap_core::role
listeners:
fleet: issuer metrics refresher slots roletap_core::config roletap_core::lifecycle
    roletap_core::reload roletap_core::role roletap_core::snapshot roletap_core::token_digest
refresher: issuer metrics slots sts_queue roletap_core::backoff roletap_core::credentials
    roletap_core::failure roletap_core::lifecycle roletap_core::role
sts_queue: roletap_core::backoff roletap_core::budget
issuer: slots source sts roletap_core::credentials roletap_core::failure roletap_core::role
source: sts roletap_core::backoff roletap_core::failure roletap_core::role
sts: clock metrics roletap_core::backoff roletap_core::config roletap_core::credentials
    roletap_core::failure roletap_core::regions roletap_core::role roletap_core::xml
metrics: slots roletap_core::failure roletap_core::lifecycle
fd_store: systemd roletap_core::snapshot
systemd:
credentials_file_io: atomic_file roletap_core::credentials roletap_core::credentials_file
    roletap_core::role
atomic_file:
config_host: roletap_core::config
clock:
aws_hosts:
audit: journal log slots roletap_core::config roletap_core::credentials roletap_core::role
slots: roletap_core::budget roletap_core::config roletap_core::consumers roletap_core::failure
    roletap_core::lifecycle roletap_core::role roletap_core::token_digest
log: journal roletap_core::config
journal:
",
    ),
    (
        "roletap_core",
        "
xml:
snapshot: credentials lifecycle role token_digest
reload: config role
regions: backoff
policy: role
fixtures: config credentials failure role
doctor: credentials failure role token_digest
token_digest: role
credentials_file: credentials failure lifecycle role
consumers: caller role
config: lifecycle role
caller: role
budget: backoff failure lifecycle
lifecycle: backoff credentials failure role
credentials: role
failure: role
role:
backoff:
",
    ),
    (
        "fake_sts",
        "
supervisor: patience
sts:
s3:
patience:
",
    ),
];

/// Modules at a crate's root that use each other, since a part of one stands above the other and a part below. There shall
/// be none.
pub(crate) const CIRCLES: &[&[&str]] = &[];

/// The crates that imitate the world, with its clock and its sockets: they keep the laws of form alone.
pub(crate) const DOUBLES: &[&str] = &["fake_sts"];

/// What may stand only in these files and folders, and why. A home without `.rs` is the file and its folder.
pub(crate) const ONLY_IN: &[(Pattern, &[&str], &str)] = &[
    (Crate("aws_sdk_sts"), &["src/sts"], "one place classifies the errors of STS"),
    (Text("aws_config"), &["src/log.rs"], "the log leaves its lines out"),
    (Crate("aws_config"), &["src/source"], "one place decides where the base identity comes from"),
    (
        Crate("aws_sigv4"),
        &["src/cli/doctor/s3.rs"],
        "the SDK signs; three requests of doctor are the exception",
    ),
    (Path("StatusCode"), &["src/server/reply.rs"], "one file owns every status"),
    (Crate("prometheus"), &["src/metrics.rs"], "one file owns every metric name"),
    (Text("roletap_"), &["src/metrics"], "one module owns every metric name"),
    (Crate("toml"), &["crates/core/src/config"], "one module reads TOML"),
    (Crate("annotate_snippets"), &["crates/core/src/config"], "one module renders problems"),
    (Crate("hyper"), &["src/server", "src/cli/fetch.rs"], "HTTP stays at the edges"),
    (Crate("sd_notify"), &["src/systemd.rs"], "one file talks to systemd"),
    (Crate("sd_listen_fds"), &["src/systemd.rs"], "one file talks to systemd"),
    (Path("memfd_create"), &["src/fd_store.rs"], "what survives a restart lies in one place"),
    (
        Method("handed_over"),
        &["src/credentials.rs", "src/keep.rs"],
        "secrets go to the next process through one door",
    ),
    (Word("taken_over"), &["src/credentials.rs", "src/keep.rs"], "and come in through one"),
    (Word("NetlinkSockDiag"), &["src/peer.rs"], "one file asks the kernel who is calling"),
    (Crate("signal_hook"), &["src/signals.rs"], "one file takes signals"),
    (Crate("tracing_subscriber"), &["src/log.rs"], "one file decides where logs go"),
    (Method("document"), &["src/server/reply.rs"], "secrets leave through one door"),
    (Method("imds_document"), &["src/server/reply.rs"], "secrets leave through one door"),
    (
        Method("shared_credentials"),
        &["crates/core/src/credentials_file.rs"],
        "secrets go into a file through one door",
    ),
    (
        Method("for_signing"),
        &["src/issuer/signer.rs"],
        "what signs for a chained role leaves through one door",
    ),
    (
        Method("reveal"),
        &["src/issuer/sts/web_identity.rs"],
        "a web identity token is shown to STS alone",
    ),
    (Method("expose"), &["crates/core/src/credentials.rs"], "nothing else sees inside credentials"),
    (
        Path("Deserialize"),
        // Facts go from one process to the next as they are.
        &["src/failure.rs", "src/failure/transport.rs"],
        "the configuration is parsed with spans, not deserialised",
    ),
];

/// What may stand nowhere.
pub(crate) const NOWHERE: &[(Pattern, &str)] = &[
    (Path("SystemTime::now"), "ask the injected clock"),
    (
        Path("std::time::Instant::now"),
        "use tokio's Instant by name, which simulated tests can move",
    ),
    (CalledUpon("Instant::now"), "use tokio's Instant by name, which simulated tests can move"),
    (Path("thread::sleep"), "wait for a condition"),
    (Path("DisplayErrorContext"), "it prints bodies, and those hold secrets"),
    (Word("unsafe"), "forbidden"),
];

/// What the core has nothing of: it decides, the shell waits.
pub(crate) const IMPURE: &[Pattern] = &[
    Word("async"),
    Word("await"),
    Method("now"),
    Crate("aws_config"),
    Crate("aws_sdk_sts"),
    Crate("fastrand"),
    Crate("getrandom"),
    Crate("nix"),
    Crate("tokio"),
    Crate("tracing"),
    Path("std::env"),
    Path("std::fs"),
    Path("std::net::TcpListener"),
    Path("std::net::TcpStream"),
    Path("std::process"),
    Path("std::thread"),
];

/// Where everything is pure.
pub(crate) const CORE: &str = "crates/core/";

/// Lines of production code in a file.
pub(crate) const LONGEST_FILE: usize = 480;
/// Lines of production code in a function. It shall be 100: `render` of the roles is longer.
pub(crate) const LONGEST_FUNCTION: usize = 114;
/// Above it a function is long.
pub(crate) const LONG_FUNCTION: usize = 60;
pub(crate) const LONG_FUNCTIONS_PERCENT: f64 = 3.0;

/// Beginnings of doc comments that are halves of a sentence.
pub(crate) const HALVES: &[&str] =
    &["What", "Whatever", "Who", "Whoever", "Whom", "Whose", "Whether", "Where", "Which"];
/// Doc comments that may begin so, in percent. It shall be 5.
pub(crate) const HALVES_PERCENT: f64 = 19.1;
/// Doc comments of two words or fewer, in percent. It shall be 2.
pub(crate) const SCRAPS_PERCENT: f64 = 5.0;

/// Names of types that are declared more than once, and why that is good. Without a reason it is not yet.
pub(crate) const DECLARED_TWICE: &[(&str, &str)] = &[
    ("Admin", ""),
    ("Answer", ""),
    ("Client", ""),
    ("Consumer", ""),
    ("Document", ""),
    ("Endpoint", ""),
    ("Entry", ""),
    ("Failed", ""),
    ("Fields", ""),
    ("Found", ""),
    ("Issued", ""),
    ("Kept", ""),
    ("Known", ""),
    ("Limits", ""),
    ("Line", ""),
    ("Listeners", ""),
    ("Lying", ""),
    ("Operation", ""),
    ("Place", ""),
    ("Origin", ""),
    ("PolicyKind", ""),
    ("Reader", ""),
    ("Reading", ""),
    ("Refused", ""),
    ("Regions", ""),
    ("Report", ""),
    ("Section", ""),
    ("Shared", ""),
    ("Source", ""),
    ("Sources", ""),
    ("State", ""),
    ("Turn", ""),
];

/// String literals of `src` with the word "ended": a part of it, and why it is not about expiry. Without a reason it is
/// about expiry, and AWS says "expired".
pub(crate) const ENDED: &[(&str, &str)] = &[
    ("a process that has closed its end or ended", "a process ends"),
    ("writing credentials files ended by a bug", "a task ends"),
    ("cannot write {}: it ended by a bug", "a task ends"),
    ("storing credentials ended by a bug", "a task ends"),
    ("the daemon's first attempt has not ended", "an attempt ends"),
    ("the queue to STS ended; starting it again", "a task ends"),
    ("Refreshers that ended", "a task ends"),
    ("consumers whose credentials have ended", ""),
    ("credentials which have ended", ""),
];
