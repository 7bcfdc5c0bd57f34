//! The bodies of the fuzz targets: each takes bytes from a stranger and panics where a promise is broken.
//!
//! `fuzz_targets/` gives them to libFuzzer; `tests/corpus.rs` runs them over `corpus/` with a stable toolchain.

mod config;
mod credentials;
#[cfg(feature = "daemon")]
mod handed_in;
#[cfg(feature = "daemon")]
mod request_head;
mod snapshot;
mod sock_diag;
mod sts_answer;
#[cfg(feature = "daemon")]
mod sts_client;
mod unit_files;

pub use config::config;
pub use credentials::credentials;
#[cfg(feature = "daemon")]
pub use handed_in::handed_in;
#[cfg(feature = "daemon")]
pub use request_head::request_head;
pub use snapshot::snapshot;
pub use sock_diag::sock_diag;
pub use sts_answer::sts_answer;
#[cfg(feature = "daemon")]
pub use sts_client::sts_client;
pub use unit_files::unit_files;

/// A target: its name, which is also that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("config", config),
    ("credentials", credentials),
    #[cfg(feature = "daemon")]
    ("handed_in", handed_in),
    #[cfg(feature = "daemon")]
    ("request_head", request_head),
    ("snapshot", snapshot),
    ("sock_diag", sock_diag),
    ("sts_answer", sts_answer),
    #[cfg(feature = "daemon")]
    ("sts_client", sts_client),
    ("unit_files", unit_files),
];

/// Checks that a text for one line of a report or a log cannot forge another.
fn assert_plain(text: &str, of: &str) {
    assert!(!text.chars().any(char::is_control), "{of} holds a control character: {text:?}");
}
