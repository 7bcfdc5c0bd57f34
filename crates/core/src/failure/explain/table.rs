//! The table of explanations: one list per class; the first row that fits is taken, and the last
//! fits always. Pure.
//!
//! To add a row, put it above those that are less particular, and run `UPDATE_GOLDEN=1 cargo test
//! --test it errors`: a test walks every row over a socket and writes the page for operators,
//! `docs/errors.md`.
//!
//! Texts are templates. `{role_arn}`, `{account}`, `{region}`, `{source}`, `{duration}` and
//! `{skew}` belong to the role and its failure. `{base}`, `{principal}` (the same as a policy names
//! it), `{base_account}`, `{action}` and `{policy}` are what AWS said in its refusal, or else a
//! general word. `{external_id}` says whether one is configured. `{or_drop}` names the key that
//! asks for what is refused, if it can be left out.

mod denied;
mod misconfigured;
mod network;

use super::denial::PolicyKind;
use crate::failure::Class;
use crate::failure::transport::TransportError;

/// One explanation for some failures of a class.
#[derive(Debug)]
pub struct Row {
    /// The failures that the row is about.
    pub when: When,
    /// The certainty of the meaning.
    pub certainty: Certainty,
    /// The template of [`super::Advice::meaning`].
    pub meaning: &'static str,
    /// The template of [`super::Advice::ask`].
    pub ask: &'static str,
    /// The template of [`super::Advice::change`].
    pub change: &'static str,
}

/// A condition on the failures of a class.
#[derive(Debug)]
pub enum When {
    /// The error code is one of these.
    Code(&'static [&'static str]),
    /// The refusal says that no policy of this kind allows the action.
    Implicit(PolicyKind),
    /// The refusal says that a policy of this kind denies the action.
    Explicit(PolicyKind),
    /// The refusal is about this action, and names no policy.
    Action(&'static str),
    /// The network failed in this way.
    Cause(TransportError),
    /// The error code is one of these, if any are given, and the message has this phrase.
    Says(&'static [&'static str], &'static str),
    /// The answer has no error code, and one of these statuses.
    Status(std::ops::RangeInclusive<u16>),
    /// Every other failure.
    Else,
}

/// The certainty of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// AWS, or another server that answered, says so.
    Told,
    /// The most likely cause, and the reason why no more can be said.
    Likely(&'static str),
}

use When::{Code, Else, Says};

const OPERATOR: &str = "the operator of this host";
const OWNER: &str = "the owner of account {account}";
const KEEPER: &str = "whoever keeps the base credentials of this host (source `{source}`)";
const BASE_ADMINISTRATORS: &str = "the administrators of {base_account}";
const BASE_ORGANISATION: &str = "the administrators of the AWS organisation of {base_account}";
const ROLE_ORGANISATION: &str = "the administrators of the AWS organisation of account {account}";
const NETWORK_TEAM: &str = "the network team of this host";
const AWS_DOES_NOT_SAY: &str = "AWS does not say which, as is its rule across accounts";

/// The rows of a class, the most particular first.
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

const fn told(when: When, meaning: &'static str, ask: &'static str, change: &'static str) -> Row {
    Row { when, certainty: Certainty::Told, meaning, ask, change }
}

const fn likely(
    when: When,
    why: &'static str,
    meaning: &'static str,
    ask: &'static str,
    change: &'static str,
) -> Row {
    Row { when, certainty: Certainty::Likely(why), meaning, ask, change }
}

const CLOCK: &[Row] = &[told(
    Else,
    "the clocks of this host and of STS are apart{skew}; requests of the workloads themselves will be refused too",
    OPERATOR,
    "set the clock of this host, and see that NTP keeps it (`timedatectl`, `chronyc tracking`); after a suspend it may only be late",
)];

const SOURCE: &[Row] = &[
    told(
        Code(&["InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"]),
        "AWS does not know roletap's base key: it was deleted or is inactive, it belongs to another partition, or its session token is missing or of the global endpoint in a region that must be enabled. It is not about the trust policy, whatever guides say",
        KEEPER,
        "rotate or repair the base credentials, and compare their partition with region {region}",
    ),
    told(
        Code(&["ExpiredTokenException"]),
        "the web identity token has expired",
        "whoever writes the token file of source `{source}`",
        "write a new token: what rewrote the file has stopped",
    ),
    told(
        Code(&["ExpiredToken"]),
        "the base credentials of this host have expired",
        KEEPER,
        "see why source `{source}` is not refreshed: IMDS, a token file or a login has stopped",
    ),
    told(
        Says(&["SignatureDoesNotMatch"], "scoped to a valid region"),
        "this host signs for {region}, and the endpoint is of another region",
        OPERATOR,
        "make `sts.region` the one of `sts.endpoint_url`",
    ),
    told(
        Says(&["SignatureDoesNotMatch"], "scoped to"),
        "this host signs for STS, and what answers is another service",
        OPERATOR,
        "correct `sts.endpoint_url`, or leave it out",
    ),
    likely(
        Code(&["SignatureDoesNotMatch"]),
        "AWS compares signatures, and cannot say which end is wrong",
        "the secret key does not belong to its key id (a stray newline in the file?), or a proxy rewrites requests",
        KEEPER,
        "enter key id and secret anew; if they are right, look for the proxy",
    ),
    told(
        Says(&[], "has nothing in hand"),
        "this host signs with what it holds for `{source}`, and holds nothing",
        OPERATOR,
        "mend that one first: this one follows by itself",
    ),
    told(
        Says(&[], "no token to show"),
        "the token that this role is assumed with cannot be read",
        "whoever writes the token file on this host",
        "write it where `web_identity_token_file` says, readable by the daemon",
    ),
    told(
        Says(&[], "`--features sso`"),
        "source `{source}` needs what this roletap was built without",
        OPERATOR,
        "use another kind of source, or a build that has it",
    ),
    told(
        Else,
        "this host has no identity to sign with: source `{source}` gives none",
        OPERATOR,
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a web identity token for the daemon, or run where instance metadata answers",
    ),
];

const THROTTLED: &[Row] = &[
    likely(
        Code(&["LimitExceededException", "ServiceQuotaExceeded"]),
        "these codes stand for more than request rates",
        "a quota of {base_account} is used up; this host waits as a whole",
        BASE_ADMINISTRATORS,
        "read the message: it names the quota",
    ),
    told(
        Else,
        "{base_account} makes more requests than STS allows (600 per second and region, of which only the account that signs pays); this host waits as a whole",
        "nobody if it passes, else the operators of all hosts that sign with {base_account}",
        "use longer sessions, fewer hosts per account or several regions (`roletap check --hosts N` shows the sum)",
    ),
];
