//! What S3 made of the vended credentials. Pure.

use super::{Finding, Mark, advice};
use crate::failure::explain::Advice;
use crate::failure::explain::denial::{Denial, Reason};
use crate::role::Role;

/// A place in S3: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The name of the bucket.
    pub bucket: String,
    /// The prefix; may be empty.
    pub prefix: String,
}

impl S3Location {
    /// From the command line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest =
            text.strip_prefix("s3://").ok_or("expected s3://BUCKET or s3://BUCKET/PREFIX")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(allowed) {
            return Err(format!(
                "`{bucket}` is not the name of a bucket: 3 to 63 lower-case letters, digits, `.` and `-`"
            ));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// Of the object that `--s3-write` puts and deletes.
    pub fn probe_key(&self) -> String {
        let slash = if self.prefix.is_empty() || self.prefix.ends_with('/') { "" } else { "/" };
        format!("{}{slash}.roletap-doctor", self.prefix)
    }
}

/// One request, by the action that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Operation {
    /// The operation `DeleteObject`.
    Delete,
    /// The operation `ListObjectsV2`.
    List,
    /// The operation `PutObject`.
    Put,
}

impl S3Operation {
    fn action(self) -> &'static str {
        match self {
            Self::Delete => "s3:DeleteObject",
            Self::List => "s3:ListBucket",
            Self::Put => "s3:PutObject",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Delete => "deletes the probe object below",
            Self::List => "lists",
            Self::Put => "writes a probe object below",
        }
    }
}

/// An answer of S3 to one request of `roletap doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Response {
    /// The HTTP status; none if nothing answered.
    pub status: Option<u16>,
    /// The text of the element `Code`.
    pub code: Option<String>,
    /// `<Message>`, or what stood in the way.
    pub message: String,
    /// The header `x-amz-request-id`.
    pub request_id: Option<String>,
}

/// Reports on the answer to one operation.
pub fn finding(
    role: &Role,
    place: &S3Location,
    operation: S3Operation,
    answer: &S3Response,
) -> Finding {
    let at = format!("s3://{}/{}", place.bucket, place.prefix);
    let arn = &role.request.role_arn;
    if matches!(answer.status, Some(200..=299)) {
        return Finding::good(
            "s3",
            format!("{} {at} with the vended credentials", operation.done()),
        );
    }
    let action = operation.action();
    let owner = format!("the owner of account {}", arn.account_id());
    let code = answer.code.as_deref().unwrap_or("no code");
    let id = answer.request_id.as_deref();
    let id = id.map(|id| format!(" (request id {id})")).unwrap_or_default();
    let what = match answer.status {
        Some(status) => format!("{action} on {at}: HTTP {status} {code}: {}{id}", answer.message),
        None => format!("{action} on {at}: {}", answer.message),
    };
    let advice = match (answer.status, code) {
        (None, _) => advice(
            "S3 was not reached; the role itself can be assumed",
            "the network team of this host",
            "check DNS, egress, the VPC endpoint for S3 and the proxies of this host",
        ),
        (_, "AccessDenied") => denied(arn.as_str(), &owner, action, place, &answer.message),
        (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch") => {
            advice(
                "S3 does not know what STS issued: they are not of the same AWS, or something rewrites requests",
                super::OPERATOR,
                "compare `sts.endpoint_url` with where the bucket is, by partition too",
            )
        }
        (_, "NoSuchBucket") => advice(
            "there is no bucket of this name, for this partition at least",
            owner,
            "compare the name of the bucket",
        ),
        (_, "RequestTimeTooSkewed") => advice(
            "the clock of this host is off by more than 15 minutes",
            super::OPERATOR,
            "set the clock, and see that NTP keeps it",
        ),
        (
            _,
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
        ) => advice(
            "the bucket is in another region, and S3 did not say in which",
            owner,
            "ask for the bucket's region, and give the workload that one",
        ),
        (_, _) => advice(
            "the role can be assumed, and S3 does not do this",
            owner,
            "look at the code and the message; with the request id AWS support can tell more",
        ),
    };
    Finding::advised(Mark::Failed, "s3", what, advice)
}

/// Assumed, and denied by S3: which action, and by whose policy as far as S3 says.
fn denied(arn: &str, owner: &str, action: &str, place: &S3Location, message: &str) -> Box<Advice> {
    let denial = Denial::parse(message);
    let action = denial.map_or(action, |denial| denial.action);
    let resource = denial.and_then(|denial| denial.resource);
    let resource = resource
        .map_or_else(|| format!("arn:aws:s3:::{}/{}*", place.bucket, place.prefix), str::to_owned);
    let policy = "`roletap policy ROLE --kind s3` prints a policy that has it";
    match denial.map(|denial| denial.reason) {
        Some(Reason::Implicit(kind)) => advice(
            format!("the role is assumed, and no {kind} allows {action} on {resource}"),
            owner,
            format!("allow {action} on {resource} for {arn}; {policy}"),
        ),
        Some(Reason::Explicit { kind, policy }) => {
            let which = policy.map(|policy| format!(" ({policy})")).unwrap_or_default();
            advice(
                format!(
                    "the role is assumed, and a statement in a {kind}{which} denies {action} on {resource}"
                ),
                owner,
                "find the statement that denies it, and narrow it",
            )
        }
        Some(Reason::Unknown(_) | Reason::Unsaid) | None => advice(
            format!(
                "the role is assumed, and {action} is not allowed: most likely its own policy lacks it, else the bucket policy or the \
                 key's policy denies it (S3 does not say which)"
            ),
            owner,
            format!("allow {action} on {resource} for {arn}; {policy}{}", slash(place)),
        ),
    }
}

/// Policies name what lies below a prefix, so that `a` does not show `ab`.
fn slash(place: &S3Location) -> &'static str {
    if place.prefix.is_empty() || place.prefix.ends_with('/') {
        ""
    } else {
        ". Or end the prefix with a slash: mostly only that may be listed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_a_prefix() {
        let place = S3Location::parse("s3://orders/sink/").unwrap();
        assert_eq!((place.bucket.as_str(), place.prefix.as_str()), ("orders", "sink/"));
        assert_eq!(place.probe_key(), "sink/.roletap-doctor");
        assert_eq!(S3Location::parse("s3://orders").unwrap().probe_key(), ".roletap-doctor");
        assert_eq!(S3Location::parse("s3://orders/a").unwrap().probe_key(), "a/.roletap-doctor");
        for bad in ["orders/sink", "s3://", "s3://UPPER/x", "s3://a", "s3://a b c/x", "s3://x@y/z"]
        {
            assert!(S3Location::parse(bad).is_err(), "{bad}");
        }
    }
}
