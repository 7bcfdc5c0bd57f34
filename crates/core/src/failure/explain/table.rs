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
const TOKEN_WRITER: &str = "the owner of the program that writes the token file on this host";
const SOURCE_TOKEN_WRITER: &str =
    "the owner of the program that writes the token file of source `{source}`";

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

/// The row for the failures that fit a condition, and the people to ask; its texts follow.
const fn when(when: When, ask: &'static str) -> Row {
    Row { when, certainty: Certainty::Told, meaning: "", ask, change: "" }
}

impl Row {
    const fn means(self, meaning: &'static str) -> Self {
        Self { meaning, ..self }
    }

    /// Nobody has said so; `why` tells why nothing more is known.
    const fn likely(self, why: &'static str) -> Self {
        Self { certainty: Certainty::Likely(why), ..self }
    }

    const fn change(self, change: &'static str) -> Self {
        Self { change, ..self }
    }
}

const CLOCK: &[Row] = &[
    when(Else, OPERATOR)
        .means("the clock of this host {skew} the clock of STS. AWS will also refuse the requests of the workloads on this host")
        .change("set the clock of this host. Check that NTP keeps it correct (`timedatectl`, `chronyc tracking`). After a suspend, the clock can be late for a short time"),
];

const SOURCE: &[Row] = &[
    when(Code(&["InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"]), KEEPER)
        .means("AWS says that the access key of source `{source}` is invalid. The key was deleted, is inactive, or belongs to another partition. Or its session token is missing. Or the token comes from the global STS endpoint, and {region} is an opt-in Region. The trust policy is not the cause, although many guides say so")
        .change("rotate or repair the base credentials. Check that they belong to the partition of Region {region}"),
    when(Code(&["ExpiredTokenException"]), SOURCE_TOKEN_WRITER)
        .means("the web identity token has expired")
        .change("write a new token. The program that rewrites the file has stopped"),
    when(Code(&["ExpiredToken"]), KEEPER)
        .means("roletap's base credentials (source `{source}`) have expired")
        .change("find out why source `{source}` is not refreshed. Instance metadata (IMDS), a token file or a login has stopped"),
    when(Says(&["SignatureDoesNotMatch"], "scoped to a valid region"), OPERATOR)
        .means("roletap signs for Region {region}, but the STS endpoint belongs to another Region")
        .change("set `sts.region` to the Region of `sts.endpoint_url`"),
    when(Says(&["SignatureDoesNotMatch"], "scoped to"), OPERATOR)
        .means("roletap signs for STS, but another AWS service answers")
        .change("correct `sts.endpoint_url`, or remove it"),
    when(Code(&["SignatureDoesNotMatch"]), KEEPER)
        .means("the secret access key does not belong to the access key ID, or a proxy changes the requests")
        .likely("AWS compares signatures and cannot say which side is wrong")
        .change("enter the access key ID and the secret access key again, without a newline. If both are correct, look for the proxy"),
    when(Says(&[], "has no unexpired credentials"), OPERATOR)
        .means("roletap signs for this role with the credentials of `{source}`, and `{source}` has no unexpired credentials")
        .change("fix `{source}` first. Then this role recovers by itself"),
    when(Says(&[], "no usable web identity token"), TOKEN_WRITER)
        .means("roletap cannot read the web identity token of this role")
        .change("write the token to the path in `web_identity_token_file`. The roletap daemon must be able to read it"),
    when(Says(&[], "`--features sso`"), OPERATOR)
        .means("source `{source}` needs a feature that this build of roletap does not have")
        .change("use another kind of source, or a build of roletap with this feature"),
    when(Else, OPERATOR)
        .means("source `{source}` gives no credentials, so roletap cannot sign its requests")
        .change("give the daemon AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a web identity token. Or run it where instance metadata (IMDS) answers"),
];

const THROTTLED: &[Row] = &[
    when(Code(&["LimitExceededException", "ServiceQuotaExceeded"]), BASE_ADMINISTRATORS)
        .means("a quota of {base_account} is used up. All roles of this host wait")
        .likely("AWS uses this error code for more than request rates")
        .change("read the message of AWS, which names the quota"),
    when(Else, "the operators of all hosts that sign with {base_account}, if the error continues")
        .means("the hosts that sign with {base_account} send more requests than STS allows. STS allows 600 requests per second and Region, counted for the account that signs. All roles of this host wait")
        .change("send fewer requests. Use longer sessions, fewer hosts per account or more Regions. `roletap check --hosts N` shows the request rate"),
];
