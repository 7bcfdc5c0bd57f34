//! The laws of the house, kept by a test: who may know whom, and where each concern lives.
//!
//! It reads source text, without comments and without unit tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and what it may import of ours. Reading downwards, every edge points down.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "audit",
            "caller",
            "clock",
            "config",
            "config_host",
            "credentials",
            "daemon",
            "doctor",
            "issuer",
            "keep",
            "listeners",
            "log",
            "metrics",
            "policy",
            "role",
            "server",
            "signals",
            "source",
            "store",
            "systemd",
            "tokens",
        ],
    ),
    ("doctor", &["issuer", "role", "server", "tokens"]),
    (
        "daemon",
        &[
            "audit",
            "budget",
            "caller",
            "clock",
            "config",
            "config_host",
            "credentials_file",
            "fleet",
            "issuer",
            "keep",
            "lifecycle",
            "listeners",
            "metrics",
            "refresher",
            "reload",
            "role",
            "server",
            "signals",
            "slots",
            "source",
            "store",
            "systemd",
            "tokens",
        ],
    ),
    (
        "fleet",
        &[
            "issuer",
            "keep",
            "lifecycle",
            "metrics",
            "refresher",
            "reload",
            "role",
            "slots",
            "tokens",
        ],
    ),
    ("refresher", &["budget", "credentials", "issuer", "lifecycle", "metrics", "role", "slots"]),
    (
        "server",
        &[
            "audit",
            "budget",
            "caller",
            "clock",
            "credentials",
            "issuer",
            "lifecycle",
            "listeners",
            "metrics",
            "role",
            "slots",
            "source",
            "tokens",
        ],
    ),
    ("store", &["keep", "systemd"]),
    ("keep", &["credentials", "issuer", "lifecycle", "role", "slots", "tokens"]),
    ("issuer::sts::identity", &["clock", "config", "issuer", "role", "source"]),
    (
        "issuer::sts",
        &[
            "clock",
            "config",
            "credentials",
            "issuer",
            "lifecycle",
            "metrics",
            "role",
            "slots",
            "source",
        ],
    ),
    ("policy", &["role"]),
    ("credentials_file", &["credentials", "files", "issuer", "lifecycle", "role"]),
    ("audit", &["config", "credentials", "journal", "log", "role", "slots"]),
    ("metrics", &["issuer", "lifecycle", "slots"]),
    ("slots", &["budget", "consumers", "issuer", "lifecycle", "role", "tokens"]),
    ("consumers", &["caller", "role"]),
    ("caller", &["role"]),
    ("tokens", &["config", "files", "role"]),
    ("reload", &["config", "role"]),
    ("log", &["config", "journal"]),
    ("journal", &[]),
    ("config_host", &["config"]),
    ("config", &["lifecycle", "role"]),
    ("issuer::regions", &["lifecycle"]),
    ("budget", &["issuer", "lifecycle"]),
    ("lifecycle", &["credentials", "issuer", "role"]),
    ("issuer::explain", &["role"]),
    ("issuer", &["credentials", "role"]),
    ("credentials", &["role"]),
    ("clock", &[]),
    ("source", &["role"]),
    ("files", &[]),
    ("listeners", &[]),
    ("role", &[]),
    ("signals", &[]),
    ("systemd", &[]),
];

/// What may stand only in these files, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("aws_sdk_sts", &["issuer/sts"], "one place classifies the errors of STS"),
    (
        "aws_config",
        // The log leaves its lines out.
        &["source", "log.rs"],
        "one place decides where the base identity comes from",
    ),
    (
        "aws_sigv4",
        &["cli/doctor/s3.rs"],
        "the SDK signs; three requests of doctor are the exception",
    ),
    ("StatusCode", &["server/reply.rs"], "one file owns every status"),
    ("prometheus::", &["metrics.rs"], "one file owns every metric name"),
    ("\"roletap_", &["metrics"], "one module owns every metric name"),
    ("toml::", &["config"], "one module reads TOML"),
    ("annotate_snippets", &["config"], "one module renders problems"),
    ("hyper::", &["server.rs", "server", "cli/fetch.rs"], "HTTP stays at the edges"),
    ("sd_notify", &["systemd.rs"], "one file talks to systemd"),
    ("sd_listen_fds", &["systemd.rs"], "one file talks to systemd"),
    ("memfd_create", &["store.rs"], "what survives a restart lies in one place"),
    (
        ".handed_over()",
        &["credentials.rs", "keep.rs"],
        "secrets go to the next process through one door",
    ),
    ("taken_over(", &["credentials.rs", "keep.rs"], "and come in through one"),
    ("NetlinkSockDiag", &["caller/kernel.rs"], "one file asks the kernel who is calling"),
    ("signal_hook", &["signals.rs"], "one file takes signals"),
    ("tracing_subscriber", &["log.rs"], "one file decides where logs go"),
    (".document()", &["server/reply.rs"], "secrets leave through one door"),
    (".imds_document(", &["server/reply.rs"], "secrets leave through one door"),
    (".shared_credentials(", &["credentials_file.rs"], "secrets go into a file through one door"),
    (
        ".for_signing(",
        &["issuer/sts/signer.rs"],
        "what signs for a chained role leaves through one door",
    ),
    (".reveal()", &["issuer/sts/web_identity.rs"], "a web identity token is shown to STS alone"),
    (".expose()", &["credentials.rs"], "nothing else sees inside credentials"),
    ("Deserialize", &[], "the configuration is parsed with spans, not deserialised"),
];

/// What may stand nowhere.
const NOWHERE: &[(&str, &str)] = &[
    ("SystemTime::now", "ask the injected clock"),
    ("Instant::now().", "use tokio's Instant by name, which simulated tests can move"),
    ("thread::sleep", "wait for a condition"),
    ("DisplayErrorContext", "it prints bodies, and those hold secrets"),
    ("cfg(test)]\nfn", "no test branch in production code"),
    ("unsafe {", "forbidden"),
];

/// Without clock, randomness and waiting: the core decides, the shell waits.
const PURE: &[&str] = &[
    "budget.rs",
    "caller.rs",
    "caller/question.rs",
    "credentials.rs",
    "credentials_file.rs",
    "keep.rs",
    "keep/bytes.rs",
    "lifecycle.rs",
    "policy.rs",
    "policy/bucket.rs",
    "policy/cloudformation.rs",
    "policy/document.rs",
    "policy/terraform.rs",
    "policy/words.rs",
    "reload.rs",
    "role.rs",
    "role/arn.rs",
    "role/callers.rs",
    "role/credentials_file.rs",
    "role/identity.rs",
    "role/base.rs",
    "role/principal.rs",
    "doctor.rs",
    "doctor/consumer.rs",
    "doctor/daemon.rs",
    "doctor/file.rs",
    "doctor/fronts.rs",
    "doctor/host.rs",
    "doctor/roles.rs",
    "doctor/storage.rs",
    "issuer/explain.rs",
    "issuer/explain/denial.rs",
    "issuer/explain/table.rs",
    "issuer/explain/table/denied.rs",
    "issuer/explain/table/misconfigured.rs",
    "issuer/explain/table/network.rs",
    "issuer/obstacle.rs",
    "issuer/regions.rs",
];

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let module = module_of(&file);
        if matches!(module.split("::").next(), Some("lib" | "main" | "simulated")) {
            continue;
        }
        let top = module.split("::").next().unwrap();
        let allowed =
            nearest(&module).unwrap_or_else(|| panic!("say in MAY_USE what {module} may use")).1;
        for used in text.split("crate::").skip(1) {
            let used: String =
                used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if !used.is_empty() && used != top && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{file} may not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The module's own row, else its parent's.
fn nearest(module: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    let row = MAY_USE.iter().find(|(name, _)| *name == module);
    row.or_else(|| nearest(module.rsplit_once("::")?.0))
}

#[test]
fn the_order_of_the_table_has_no_cycle() {
    let order: BTreeMap<&str, usize> =
        MAY_USE.iter().enumerate().map(|(position, (name, _))| (*name, position)).collect();
    for (position, (name, uses)) in MAY_USE.iter().enumerate() {
        for used in *uses {
            assert!(order[used] > position, "{name} stands below {used}, which it uses");
        }
    }
}

#[test]
fn each_concern_lives_in_one_place() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for (word, homes, why) in ONLY_IN {
            let home = homes.iter().any(|home| {
                file == *home
                    || file.starts_with(&format!("{home}/"))
                    || (!home.contains('.') && file == format!("{home}.rs"))
            });
            if !home && text.contains(word) {
                wrong.push(format!("`{word}` in {file}: {why}"));
            }
        }
        for (word, why) in NOWHERE {
            if text.contains(word) {
                wrong.push(format!("`{word}` in {file}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| PURE.contains(&file.as_str())) {
        for word in ["async ", "tokio", ".now()", "fastrand", "std::fs", "std::env", "tracing"] {
            if text.contains(word) {
                wrong.push(format!("`{word}` in {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_has_one_subject() {
    for (file, text) in sources() {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= 480, "{file} has {lines} lines without comments and tests: two subjects?");
    }
}

/// Every source file by its path under `src`, without comments and unit tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                files.push((name, production(&text)));
            }
        }
    }
    assert!(files.len() > 20, "the sources have moved");
    files.sort();
    files
}

fn production(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn module_of(file: &str) -> String {
    file.trim_end_matches(".rs").replace('/', "::")
}
