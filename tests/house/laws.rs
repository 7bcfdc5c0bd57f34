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
cli: audit caller clock config credentials daemon doctor issuer issuer::explain issuer::sts
    issuer::sts::identity keep listeners log metrics policy role server signals source store
    systemd tokens
doctor: issuer issuer::explain role server tokens
daemon: audit budget caller clock config credentials_file fleet issuer::sts keep lifecycle
    listeners metrics refresher reload role server signals slots source store systemd tokens
fleet: issuer keep lifecycle metrics refresher reload role slots tokens
refresher: budget credentials issuer issuer::explain lifecycle metrics role slots
server: audit budget caller clock credentials lifecycle listeners metrics role slots source tokens
store: keep systemd
keep: credentials issuer issuer::explain lifecycle role slots tokens
issuer::sts::identity: clock config issuer::sts role
issuer::sts: clock config credentials issuer issuer::explain issuer::regions lifecycle metrics
    role slots source
policy: role
credentials_file: credentials files issuer lifecycle role
audit: config credentials journal log role slots
metrics: issuer lifecycle slots
slots: budget consumers issuer lifecycle role tokens
consumers: caller role
caller: role
tokens: config files role
reload: config role
log: config journal
journal:
config: lifecycle role
issuer::regions: lifecycle
budget: issuer lifecycle
lifecycle: credentials issuer role
issuer::explain: issuer role
issuer: credentials role
credentials: role
clock:
source: role
files:
listeners:
role:
signals:
systemd:
",
    ),
    (
        "fake_sts",
        "
sts:
supervisor: patience
s3:
patience:
",
    ),
];

/// Modules at a crate's root that use each other, since a part of one stands above the other and a part below. There shall
/// be none.
pub(crate) const CIRCLES: &[&[&str]] = &[&[
    "roletap::budget",
    "roletap::config",
    "roletap::issuer",
    "roletap::lifecycle",
    "roletap::metrics",
    "roletap::slots",
    "roletap::tokens",
]];

/// The crates that imitate the world, with its clock and its sockets: they keep the laws of form alone.
pub(crate) const DOUBLES: &[&str] = &["fake_sts"];

/// What may stand only in these files and folders, and why. A home without `.rs` is the file and its folder.
pub(crate) const ONLY_IN: &[(Pattern, &[&str], &str)] = &[
    (Crate("aws_sdk_sts"), &["src/issuer/sts"], "one place classifies the errors of STS"),
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
    (Crate("toml"), &["src/config"], "one module reads TOML"),
    (Crate("annotate_snippets"), &["src/config"], "one module renders problems"),
    (Crate("hyper"), &["src/server", "src/cli/fetch.rs"], "HTTP stays at the edges"),
    (Crate("sd_notify"), &["src/systemd.rs"], "one file talks to systemd"),
    (Crate("sd_listen_fds"), &["src/systemd.rs"], "one file talks to systemd"),
    (Path("memfd_create"), &["src/store.rs"], "what survives a restart lies in one place"),
    (
        Method("handed_over"),
        &["src/credentials.rs", "src/keep.rs"],
        "secrets go to the next process through one door",
    ),
    (Word("taken_over"), &["src/credentials.rs", "src/keep.rs"], "and come in through one"),
    (Word("NetlinkSockDiag"), &["src/caller/kernel.rs"], "one file asks the kernel who is calling"),
    (Crate("signal_hook"), &["src/signals.rs"], "one file takes signals"),
    (Crate("tracing_subscriber"), &["src/log.rs"], "one file decides where logs go"),
    (Method("document"), &["src/server/reply.rs"], "secrets leave through one door"),
    (Method("imds_document"), &["src/server/reply.rs"], "secrets leave through one door"),
    (
        Method("shared_credentials"),
        &["src/credentials_file.rs"],
        "secrets go into a file through one door",
    ),
    (
        Method("for_signing"),
        &["src/issuer/sts/signer.rs"],
        "what signs for a chained role leaves through one door",
    ),
    (
        Method("reveal"),
        &["src/issuer/sts/web_identity.rs"],
        "a web identity token is shown to STS alone",
    ),
    (Method("expose"), &["src/credentials.rs"], "nothing else sees inside credentials"),
    (Path("Deserialize"), &[], "the configuration is parsed with spans, not deserialised"),
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

/// What is pure and lies elsewhere as yet. A row goes when its file moves into [`CORE`].
pub(crate) const PURE_ELSEWHERE: &[&str] = &[
    "src/budget.rs",
    "src/caller.rs",
    "src/caller/question.rs",
    "src/credentials.rs",
    "src/credentials_file.rs",
    "src/keep.rs",
    "src/keep/bytes.rs",
    "src/lifecycle.rs",
    "src/policy.rs",
    "src/policy/bucket.rs",
    "src/policy/cloudformation.rs",
    "src/policy/document.rs",
    "src/policy/terraform.rs",
    "src/policy/words.rs",
    "src/reload.rs",
    "src/role.rs",
    "src/role/arn.rs",
    "src/role/callers.rs",
    "src/role/credentials_file.rs",
    "src/role/identity.rs",
    "src/role/base.rs",
    "src/role/principal.rs",
    "src/doctor.rs",
    "src/doctor/consumer.rs",
    "src/doctor/daemon.rs",
    "src/doctor/file.rs",
    "src/doctor/fronts.rs",
    "src/doctor/host.rs",
    "src/doctor/roles.rs",
    "src/doctor/storage.rs",
    "src/issuer/explain.rs",
    "src/issuer/explain/denial.rs",
    "src/issuer/explain/table.rs",
    "src/issuer/explain/table/denied.rs",
    "src/issuer/explain/table/misconfigured.rs",
    "src/issuer/explain/table/network.rs",
    "src/issuer/obstacle.rs",
    "src/issuer/regions.rs",
];

/// Lines of production code in a file.
pub(crate) const LONGEST_FILE: usize = 480;
/// Lines of production code in a function. It shall be 100: `start` of the daemon and `render` of the roles are longer.
pub(crate) const LONGEST_FUNCTION: usize = 122;
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
    ("Consumer", ""),
    ("Document", ""),
    ("Endpoint", ""),
    ("Entrance", ""),
    ("Entry", ""),
    ("Failed", ""),
    ("Failure", ""),
    ("Fields", ""),
    ("Found", ""),
    ("Front", ""),
    ("Fronts", ""),
    ("Held", ""),
    ("Issued", ""),
    ("Keeper", ""),
    ("Kept", ""),
    ("Known", ""),
    ("Limits", ""),
    ("Line", ""),
    ("Listeners", ""),
    ("Lying", ""),
    ("News", ""),
    ("Operation", ""),
    ("Place", ""),
    ("PolicyKind", ""),
    ("Reader", ""),
    ("Reading", ""),
    ("Refused", ""),
    ("Regions", ""),
    ("Report", ""),
    ("Section", ""),
    ("Settings", ""),
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
