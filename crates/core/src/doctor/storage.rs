//! What S3 made of the vended credentials. Pure.

use super::{Finding, Unadvised};
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
    /// The action that it needs, and its effect where that is allowed.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Delete => ("s3:DeleteObject", "deletes the probe object below"),
            Self::List => ("s3:ListBucket", "lists"),
            Self::Put => ("s3:PutObject", "writes a probe object below"),
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
    let (action, does) = operation.words();
    if matches!(answer.status, Some(200..=299)) {
        return Finding::good("s3", format!("{does} {at} with the vended credentials"));
    }
    let code = answer.code.as_deref().unwrap_or("no code");
    let id = answer.request_id.as_deref();
    let id = id.map(|id| format!(" (request id {id})")).unwrap_or_default();
    let what = match answer.status {
        Some(status) => format!("{action} on {at}: HTTP {status} {code}: {}{id}", answer.message),
        None => format!("{action} on {at}: {}", answer.message),
    };
    let failed = Finding::failed("s3", what);
    let owners =
        |failed: Unadvised| failed.ask(format!("the owner of account {}", arn.account_id()));
    match (answer.status, code) {
        (None, _) => failed
            .means("S3 was not reached; the role itself can be assumed")
            .ask("the network team of this host")
            .change("check DNS, egress, the VPC endpoint for S3 and the proxies of this host"),
        (_, "AccessDenied") => denied(owners(failed), arn.as_str(), action, place, &answer.message),
        (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch") => failed
            .means("S3 does not know what STS issued: they are not of the same AWS, or something rewrites requests")
            .change("compare `sts.endpoint_url` with where the bucket is, by partition too"),
        (_, "NoSuchBucket") => owners(failed)
            .means("there is no bucket of this name, for this partition at least")
            .change("compare the name of the bucket"),
        (_, "RequestTimeTooSkewed") => failed
            .means("the clock of this host is off by more than 15 minutes")
            .change("set the clock, and see that NTP keeps it"),
        (
            _,
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
        ) => owners(failed)
            .means("the bucket is in another region, and S3 did not say in which")
            .change("ask for the bucket's region, and give the workload that one"),
        (_, _) => owners(failed)
            .means("the role can be assumed, and S3 does not do this")
            .change("look at the code and the message; with the request id AWS support can tell more"),
    }
}

/// Assumed, and denied by S3: which action, and by whose policy as far as S3 says.
fn denied(
    failed: Unadvised,
    arn: &str,
    action: &str,
    place: &S3Location,
    message: &str,
) -> Finding {
    let denial = Denial::parse(message);
    let action = denial.map_or(action, |denial| denial.action);
    let resource = denial.and_then(|denial| denial.resource);
    let resource = resource
        .map_or_else(|| format!("arn:aws:s3:::{}/{}*", place.bucket, place.prefix), str::to_owned);
    let what = format!("{action} on {resource}");
    let allow = format!(
        "allow {what} for {arn}; `roletap policy ROLE --kind s3` prints a policy that has it"
    );
    match denial.map(|denial| denial.reason) {
        Some(Reason::Implicit(kind)) => failed
            .means(format!("the role is assumed, and no {kind} allows {what}"))
            .change(allow),
        Some(Reason::Explicit { kind, policy }) => {
            let which = policy.map(|policy| format!(" ({policy})")).unwrap_or_default();
            failed
                .means(format!("the role is assumed, and a statement in a {kind}{which} denies {what}"))
                .change("find the statement that denies it, and narrow it")
        }
        Some(Reason::Unknown(_) | Reason::Unsaid) | None => failed
            .means(format!(
                "the role is assumed, and {action} is not allowed: most likely its own policy lacks it, else the bucket policy or the \
                 key's policy denies it (S3 does not say which)"
            ))
            .change(allow + slash(place)),
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
