//! What failures mean, as a table: one list per class, the first row that fits speaks, the last fits always.
//!
//! To add a row, put it above those that are less particular, and run `UPDATE_GOLDEN=1 cargo test --test it errors`:
//! a test walks every row over a socket and writes the page for operators, `docs/errors.md`.
//!
//! Texts are templates. `{role_arn}`, `{account}` (the role's), `{region}`, `{source}`, `{duration}`, `{skew}` are the
//! role's own; `{base}`, `{principal}` (the
//! same as a policy names it), `{base_account}`, `{action}` and `{policy}` are what AWS said in its refusal, or else the words
//! that stand for them; `{external_id}` says whether one is configured; `{or_drop}` names the key that asks for what is
//! refused, if it is one that can be left out.

mod denied;
mod misconfigured;
mod network;

use super::denial::PolicyKind;
use crate::failure::Class;

/// One meaning of some failures.
#[derive(Debug)]
pub struct Row {
    /// Which failures.
    pub when: When,
    /// How sure that is.
    pub certainty: Certainty,
    /// What it means.
    pub meaning: &'static str,
    /// Whom to ask.
    pub ask: &'static str,
    /// What they are to change.
    pub change: &'static str,
}

/// Which failures of the class a row is about.
#[derive(Debug)]
pub enum When {
    /// The one with one of these codes.
    Code(&'static [&'static str]),
    /// A refusal that says that no policy of this kind allows it.
    Implicit(PolicyKind),
    /// A refusal that says that a policy of this kind denies it.
    Explicit(PolicyKind),
    /// A refusal of this action that does not say by which policy.
    Action(&'static str),
    /// This stood in the way: see `Obstacle::name`.
    Obstacle(&'static str),
    /// One of these codes, if any are given, with this phrase in its message.
    Says(&'static [&'static str], &'static str),
    /// No code, and this status.
    Status(std::ops::RangeInclusive<u16>),
    /// Everything else.
    Else,
}

/// Whether the answer says it, or we conclude it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// AWS, or whatever answered, says so.
    Told,
    /// The most likely cause, and why no more can be said.
    Likely(&'static str),
}

use Certainty::{Likely, Told};
use When::{Code, Else, Says};

const OPERATOR: &str = "the operator of this host";
const OWNER: &str = "the owner of account {account}";
const KEEPER: &str = "whoever keeps the base credentials of this host (source `{source}`)";
const OUR_ADMINISTRATORS: &str = "the administrators of {base_account}";
const OUR_ORGANISATION: &str = "the administrators of the AWS organisation of {base_account}";
const THEIR_ORGANISATION: &str = "the administrators of the AWS organisation of account {account}";
const NETWORK_TEAM: &str = "the network team of this host";
const AWS_DOES_NOT_SAY: &str = "AWS does not say which, as is its rule across accounts";

/// The table of a class.
pub fn rows(class: Class) -> &'static [Row] {
    match class {
        Class::Clock => CLOCK,
        Class::Denied => denied::ROWS,
        Class::Misconfigured => misconfigured::ROWS,
        Class::Network => network::ROWS,
        Class::Source => SOURCE,
        Class::Throttled => THROTTLED,
    }
}

const fn row(
    when: When,
    certainty: Certainty,
    meaning: &'static str,
    ask: &'static str,
    change: &'static str,
) -> Row {
    Row { when, certainty, meaning, ask, change }
}

const CLOCK: &[Row] = &[row(
    Else,
    Told,
    "the clocks of this host and of STS are apart{skew}; requests of the workloads themselves will be refused too",
    OPERATOR,
    "set the clock of this host, and see that NTP keeps it (`timedatectl`, `chronyc tracking`); after a suspend it may only be late",
)];

const SOURCE: &[Row] = &[
    row(
        Code(&["InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"]),
        Told,
        "AWS does not know our own base key: it was deleted or is inactive, it belongs to another partition, or its session token is missing or of the global endpoint in a region that must be enabled. It is not about the trust policy, whatever guides say",
        KEEPER,
        "rotate or repair the base credentials, and compare their partition with region {region}",
    ),
    row(
        Code(&["ExpiredTokenException"]),
        Told,
        "the web identity token has ended",
        "whoever writes the token file of source `{source}`",
        "write a new token: what rewrote the file has stopped",
    ),
    row(
        Code(&["ExpiredToken"]),
        Told,
        "the base credentials of this host have ended",
        KEEPER,
        "see why source `{source}` is not refreshed: IMDS, a token file or a login has stopped",
    ),
    row(
        Says(&["SignatureDoesNotMatch"], "scoped to a valid region"),
        Told,
        "this host signs for {region}, and the endpoint is of another region",
        OPERATOR,
        "make `sts.region` the one of `sts.endpoint_url`",
    ),
    row(
        Says(&["SignatureDoesNotMatch"], "scoped to"),
        Told,
        "this host signs for STS, and what answers is another service",
        OPERATOR,
        "correct `sts.endpoint_url`, or leave it out",
    ),
    row(
        Code(&["SignatureDoesNotMatch"]),
        Likely("AWS compares signatures, and cannot say which end is wrong"),
        "the secret key does not belong to its key id (a stray newline in the file?), or a proxy rewrites requests",
        KEEPER,
        "enter key id and secret anew; if they are right, look for the proxy",
    ),
    row(
        Says(&[], "has nothing in hand"),
        Told,
        "this host signs with what it holds for `{source}`, and holds nothing",
        OPERATOR,
        "mend that one first: this one follows by itself",
    ),
    row(
        Says(&[], "no token to show"),
        Told,
        "the token that this role is assumed with cannot be read",
        "whoever writes the token file on this host",
        "write it where `web_identity_token_file` says, readable by the daemon",
    ),
    row(
        Says(&[], "`--features sso`"),
        Told,
        "source `{source}` needs what this roletap was built without",
        OPERATOR,
        "use another kind of source, or a build that has it",
    ),
    row(
        Else,
        Told,
        "this host has no identity to sign with: source `{source}` gives none",
        OPERATOR,
        "set AWS_ACCESS_KEY_ID and its kin, a profile or a web identity token for the daemon, or run where instance metadata answers",
    ),
];

const THROTTLED: &[Row] = &[
    row(
        Code(&["LimitExceededException", "ServiceQuotaExceeded"]),
        Likely("these codes stand for more than request rates"),
        "a quota of {base_account} is used up; this host waits as a whole",
        OUR_ADMINISTRATORS,
        "read the message: it names the quota",
    ),
    row(
        Else,
        Told,
        "{base_account} makes more requests than STS allows (600 per second and region, of which only the account that signs pays); this host waits as a whole",
        "nobody if it passes, else the operators of all hosts that sign with {base_account}",
        "use longer sessions, fewer hosts per account or several regions (`roletap check --hosts N` shows the sum)",
    ),
];
