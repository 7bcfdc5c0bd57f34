//! What the laws say, as data.

use crate::words::Pattern::{self, CalledUpon, Crate, Method, Path, Text, Word};

/// Each crate from the roof to the cellar: a room, and what it uses. Every arrow points down.
///
/// A room is a module at the crate's root, or one in it that has a row of its own. Of another crate only the modules at
/// its root are rooms, and are named with it: `roletap_core::role`. A row that begins with a space goes on.
pub(crate) const STOREYS: &[(&str, &str)] = &[
    (
        "roletap",
        "
cli::run: audit cli cli::environment cli::hardening daemon daemon::endpoints fd_store listeners
    log server::imds signals systemd tokens roletap_core::config roletap_core::snapshot
cli::check: cli config_host peer roletap_core::config
cli::policy: cli cli::environment metrics source sts roletap_core::config roletap_core::policy
    roletap_core::role
cli::doctor: aws_hosts cli cli::env cli::environment cli::fetch clock config_host issuer metrics
    source sts tokens roletap_core::config roletap_core::credentials roletap_core::doctor
    roletap_core::failure roletap_core::role roletap_core::token_digest roletap_core::xml
cli::status: cli cli::fetch
cli::refresh: cli cli::fetch
cli::exec: cli cli::env cli::fetch roletap_core::config roletap_core::role
cli::credential_process: cli cli::env
cli::completions: cli
cli::man: cli
cli::env: cli cli::fetch tokens roletap_core::config roletap_core::credentials
    roletap_core::role
cli::fetch: cli roletap_core::config roletap_core::failure
cli::environment: cli
cli::hardening:
cli: config_host roletap_core::config roletap_core::role
daemon::status: systemd
daemon::snapshotter: clock daemon fd_store refresher slots systemd roletap_core::role
    roletap_core::snapshot roletap_core::token_digest
daemon::reload: config_host daemon daemon::callers metrics systemd tokens roletap_core::config
    roletap_core::reload roletap_core::token_digest
daemon::reaper:
daemon::credentials_files: credentials_file_io refresher slots roletap_core::backoff
    roletap_core::credentials_file roletap_core::role
daemon::callers: daemon::endpoints listeners peer roletap_core::config roletap_core::role
daemon::endpoints: audit daemon listeners server server::admin server::imds server::vend
    roletap_core::config
daemon: audit clock fd_store fleet issuer listeners metrics peer refresher server signals slots
    source sts sts_queue systemd roletap_core::budget roletap_core::config
    roletap_core::lifecycle roletap_core::role roletap_core::snapshot roletap_core::token_digest
tokens: atomic_file roletap_core::config roletap_core::role roletap_core::token_digest
signals:
server::vend: audit metrics peer server server::guard server::imds server::reply slots
    roletap_core::caller roletap_core::credentials roletap_core::lifecycle
    roletap_core::token_digest
server::imds: server::guard server::reply slots roletap_core::config
server::admin: clock metrics peer server server::guard server::reply slots source sts_queue
    roletap_core::credentials roletap_core::failure roletap_core::lifecycle roletap_core::role
server::guard: server::reply slots
server::reply: slots roletap_core::caller roletap_core::credentials roletap_core::role
server: listeners metrics peer roletap_core::caller
peer: roletap_core::caller roletap_core::role
listeners:
fleet: issuer refresher slots roletap_core::config roletap_core::lifecycle roletap_core::reload
    roletap_core::role roletap_core::snapshot roletap_core::token_digest
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
doctor: credentials failure failure::explain role token_digest
token_digest: role
credentials_file: credentials failure lifecycle role
consumers: caller role
config::check: config config::diagnostics config::forecast config::load role
config::load: config config::diagnostics config::files config::host config::keys config::lint
    config::resolve config::toml role
config::lint: config config::diagnostics config::files config::host config::keys config::resolve
    lifecycle role
config::resolve: config config::diagnostics config::host config::keys lifecycle role
config::keys: config config::diagnostics config::files config::host config::toml lifecycle role
config::toml: config::diagnostics config::files role
config::diagnostics: config::files role
config::forecast: config lifecycle
config::host:
config::files: role
config: role
caller: role
budget: backoff failure lifecycle
lifecycle: backoff credentials failure role
credentials: role
failure::explain: failure role
failure:
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
    (
        Crate("aws_sdk_sts"),
        // The second takes the SDK's rules for endpoints from it, and calls nothing.
        &["src/sts", "src/aws_hosts.rs"],
        "one place classifies the errors of STS, and one knows AWS's hosts",
    ),
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
        Word("export_for_restart"),
        &["crates/core/src/credentials.rs", "crates/core/src/snapshot.rs"],
        "secrets go to the next process through one door",
    ),
    (
        Word("import_after_restart"),
        &["crates/core/src/credentials.rs", "crates/core/src/snapshot.rs"],
        "and come in through one",
    ),
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
        Method("web_identity_token"),
        &["src/sts/web_identity_token.rs"],
        "a web identity token is shown to STS alone",
    ),
    (Method("expose"), &["crates/core/src/credentials.rs"], "nothing else sees inside credentials"),
    (
        Path("Deserialize"),
        // A snapshot goes from one process to the next: these types are what it is made of.
        &[
            "crates/core/src/snapshot.rs",
            "crates/core/src/failure.rs",
            "crates/core/src/failure/transport.rs",
            "crates/core/src/lifecycle.rs",
            "crates/core/src/role.rs",
            "crates/core/src/role/identity.rs",
            "crates/core/src/token_digest.rs",
        ],
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

/// The crates that wait or talk to the world: none is anywhere below the core. A name that ends with `-` is that of a
/// family.
pub(crate) const RUNTIMES: &[&str] = &[
    "async-executor",
    "async-io",
    "async-std",
    "aws-",
    "fastrand",
    "futures-executor",
    "getrandom",
    "h2",
    "hyper",
    "hyper-",
    "mio",
    "nix",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tokio",
    "tokio-",
    "tracing",
];

/// The feature of the core by which the tests of other crates reach its fixtures. No program is built with it.
pub(crate) const FIXTURES: &str = "fixtures";

/// Lines of production code in a file.
pub(crate) const LONGEST_FILE: usize = 450;
/// Lines of production code in a function.
pub(crate) const LONGEST_FUNCTION: usize = 95;
/// Above it a function is long.
pub(crate) const LONG_FUNCTION: usize = 60;
pub(crate) const LONG_FUNCTIONS_PERCENT: f64 = 1.0;

/// Beginnings of doc comments that are halves of a sentence.
pub(crate) const HALVES: &[&str] =
    &["What", "Whatever", "Who", "Whoever", "Whom", "Whose", "Whether", "Where", "Which"];
/// Doc comments that may begin so, in percent.
pub(crate) const HALVES_PERCENT: f64 = 1.0;
/// Doc comments of two words or fewer, in percent.
pub(crate) const SCRAPS_PERCENT: f64 = 1.0;

/// Names of types that are declared more than once, and why that is good.
pub(crate) const DECLARED_TWICE: &[(&str, &str)] = &[];

/// String literals of `src` with the word "ended": a part of it, and why it is not about expiry: there AWS says
/// "expired".
pub(crate) const ENDED: &[(&str, &str)] = &[
    ("a process that has closed its end or ended", "a process ends"),
    ("writing credentials files ended by a bug", "a task ends"),
    ("cannot write {}: it ended by a bug", "a task ends"),
    ("storing credentials ended by a bug", "a task ends"),
    ("the queue to STS ended; starting it again", "a task ends"),
    ("Refreshers that ended", "a task ends"),
];
