//! The table of explanations: one list of rows per class. The first row that fits is taken, and
//! the last row always fits. Pure.
//!
//! To add a row, put it above the rows that are less specific. Then run `UPDATE_GOLDEN=1 cargo test
//! --test it errors`: that test produces every row over a socket and writes `docs/errors.md`.
//!
//! Texts are templates. A text begins in lower case, has sentences of at most 25 words, and has no
//! full stop at its end. These placeholders are filled in:
//!
//! - `{role_arn}`, `{account}`, `{source}` and `{duration}` come from the role.
//! - `{region}` and `{skew}` come from the failure; `{skew}` is a verb between two clocks.
//! - `{base}`, `{base_account}`, `{action}` and `{policy}` come from the refusal of AWS. A general
//!   word stands in where AWS says nothing.
//! - `{principal}` is `{base}` as a policy has to name it.
//! - `{external_id}` is a sentence about the external ID of the request.
//! - `{or_drop}` is a sentence about the key of the role that causes the refused action, if any.

mod denied;
mod misconfigured;
mod network;

use super::denial::PolicyKind;
use crate::failure::Class;
use crate::failure::transport::TransportError;

/// One explanation for some failures of a class.
#[derive(Debug)]
pub struct Row {
    /// The condition on the failure.
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
    /// Any failure: the last row of each class.
    Else,
}

/// The certainty of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// AWS, or another server that answered, says so.
    Told,
    /// The most likely cause. The text is a sentence that tells why nothing more is known.
    Likely(&'static str),
}

use When::{Code, Else, Says};

const OPERATOR: &str = "the operator of this host";
const OWNER: &str = "the owner of account {account}";
const KEEPER: &str = "the owner of roletap's base credentials (source `{source}`)";
const BASE_ADMINISTRATORS: &str = "the administrators of {base_account}";
const BASE_ORGANIZATION: &str = "the AWS Organizations administrators of {base_account}";
const ROLE_ORGANIZATION: &str = "the AWS Organizations administrators of account {account}";
const NETWORK_TEAM: &str = "the network team of this host";
const NETWORK_TEAM_IN_TIME: &str = "the network team of this host, if the error continues";
const PROXY_TEAM: &str = "the administrators of the proxy of this host";
const TOKEN_ISSUER: &str = "the owner of the identity provider of this host's tokens";

/// A source identity stays what it is through a chain of roles. STS has two codes for that.
const SOURCE_IDENTITY_IS_SET: &str = "the session of roletap's base identity (source `{source}`) already has a source identity. A chained role cannot change it";
const REMOVE_SOURCE_IDENTITY: &str =
    "remove `source_identity` from this role, or set it to the value of the base session";

/// The rows of a class, the most specific first.
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
    "the clock of this host {skew} the clock of STS. AWS will also refuse the requests of the workloads on this host",
    OPERATOR,
    "set the clock of this host. Check that NTP keeps it correct (`timedatectl`, `chronyc tracking`). After a suspend, the clock can be late for a short time",
)];

const SOURCE: &[Row] = &[
    told(
        Code(&["InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"]),
        "AWS says that the access key of source `{source}` is invalid. The key was deleted, is inactive, or belongs to another partition. Or its session token is missing. Or the token comes from the global STS endpoint, and {region} is an opt-in Region. The trust policy is not the cause, although many guides say so",
        KEEPER,
        "rotate or repair the base credentials. Check that they belong to the partition of Region {region}",
    ),
    told(
        Code(&["ExpiredTokenException"]),
        "the web identity token has expired",
        "the owner of the program that writes the token file of source `{source}`",
        "write a new token. The program that rewrites the file has stopped",
    ),
    told(
        Code(&["ExpiredToken"]),
        "roletap's base credentials (source `{source}`) have expired",
        KEEPER,
        "find out why source `{source}` is not refreshed. Instance metadata (IMDS), a token file or a login has stopped",
    ),
    told(
        Says(&["SignatureDoesNotMatch"], "scoped to a valid region"),
        "roletap signs for Region {region}, but the STS endpoint belongs to another Region",
        OPERATOR,
        "set `sts.region` to the Region of `sts.endpoint_url`",
    ),
    told(
        Says(&["SignatureDoesNotMatch"], "scoped to"),
        "roletap signs for STS, but another AWS service answers",
        OPERATOR,
        "correct `sts.endpoint_url`, or remove it",
    ),
    likely(
        Code(&["SignatureDoesNotMatch"]),
        "AWS compares signatures and cannot say which side is wrong",
        "the secret access key does not belong to the access key ID, or a proxy changes the requests",
        KEEPER,
        "enter the access key ID and the secret access key again, without a newline. If both are correct, look for the proxy",
    ),
    told(
        Says(&[], "has no unexpired credentials"),
        "roletap signs for this role with the credentials of `{source}`, and `{source}` has no unexpired credentials",
        OPERATOR,
        "fix `{source}` first. Then this role recovers by itself",
    ),
    told(
        Says(&[], "no usable web identity token"),
        "roletap cannot read the web identity token of this role",
        "the owner of the program that writes the token file on this host",
        "write the token to the path in `web_identity_token_file`. The roletap daemon must be able to read it",
    ),
    told(
        Says(&[], "`--features sso`"),
        "source `{source}` needs a feature that this build of roletap does not have",
        OPERATOR,
        "use another kind of source, or a build of roletap with this feature",
    ),
    told(
        Else,
        "source `{source}` gives no credentials, so roletap cannot sign its requests",
        OPERATOR,
        "give the daemon AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a web identity token. Or run it where instance metadata (IMDS) answers",
    ),
];

const THROTTLED: &[Row] = &[
    likely(
        Code(&["LimitExceededException", "ServiceQuotaExceeded"]),
        "AWS uses this error code for more than request rates",
        "a quota of {base_account} is used up. All roles of this host wait",
        BASE_ADMINISTRATORS,
        "read the message of AWS, which names the quota",
    ),
    told(
        Else,
        "the hosts that sign with {base_account} send more requests than STS allows. STS allows 600 requests per second and Region, counted for the account that signs. All roles of this host wait",
        "the operators of all hosts that sign with {base_account}, if the error continues",
        "send fewer requests. Use longer sessions, fewer hosts per account or more Regions. `roletap check --hosts N` shows the request rate",
    ),
];
