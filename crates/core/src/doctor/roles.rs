//! Who we are, and whether each role can be assumed.

use std::time::Duration;

use super::Finding;
use crate::failure::IssueError;
use crate::failure::explain::{self, Advice};
use crate::role::{Base, CallerIdentity, Role};

/// One role, tried once.
#[derive(Debug)]
pub struct Attempt {
    /// The result of the attempt.
    pub outcome: Result<Granted, IssueError>,
    /// The time from the request to the answer of STS.
    pub took: Duration,
}

/// Facts about issued credentials, without anything secret.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The access key ID of the issued credentials.
    pub access_key_id: String,
    /// The time from the issue of the credentials to their expiry.
    pub lifetime: Duration,
}

/// One way of asking otherwise than configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Without the external id: the test that AWS asks third parties to make.
    WithoutExternalId,
    /// Without session policies.
    WithoutPolicies,
    /// Without tags and source identity.
    WithoutTags,
}

impl Variant {
    /// In the order of trying.
    pub const ALL: [Self; 3] = [Self::WithoutTags, Self::WithoutPolicies, Self::WithoutExternalId];

    /// The role asked for in this way; `None` if that is how it is configured.
    pub fn of(self, role: &Role) -> Option<Role> {
        let mut role = role.clone();
        let request = &mut role.request;
        let before = request.clone();
        // With a token neither an external id nor tags are sent, so that leaving them out shows nothing.
        if matches!(request.base, Base::Token(_)) && self != Self::WithoutPolicies {
            return None;
        }
        match self {
            Self::WithoutExternalId => request.external_id = None,
            Self::WithoutPolicies => {
                request.policy = None;
                request.policy_arns.clear();
            }
            Self::WithoutTags => {
                request.tags.clear();
                request.transitive_tag_keys.clear();
                request.source_identity = None;
            }
        }
        (*request != before).then_some(role)
    }
}

/// Reports the identity of a source.
pub fn identity(source: &str, who: Result<&CallerIdentity, String>) -> Finding {
    match who {
        Ok(who) => {
            let session = match who.is_role_session() {
                true => "; a role session, so what it assumes lasts an hour at most",
                false => "",
            };
            Finding::good("identity", format!("source `{source}` is {}{session}", who.arn()))
        }
        Err(what) => Finding::warning("identity", format!("source `{source}` cannot be named: {what}"))
            .means("GetCallerIdentity needs no permission, so a refusal is about the credentials; but some that speak STS do not \
                 know it, and nothing depends on it")
            .ask(format!("whoever keeps the base credentials of this host (source `{source}`)"))
            .change("nothing, if the roles below can be assumed"),
    }
}

/// A source that gives no credentials.
pub fn no_source(source: &str, what: &str, advice: Box<Advice>) -> Finding {
    Finding::failed("source", format!("source `{source}`: {what}")).advised(advice)
}

/// A source that gives credentials.
pub fn has_source(source: &str, access_key_id: &str) -> Finding {
    Finding::good("source", format!("source `{source}` gives the key {access_key_id}"))
}

/// Reports on the attempt to assume a role as it is configured.
pub fn attempt(role: &Role, region: &str, attempt: &Attempt) -> Finding {
    let asked = format!("`{}` → {}", role.request.base, role.request.role_arn);
    let took = attempt.took.as_millis();
    match &attempt.outcome {
        Ok(Granted { lifetime, access_key_id }) => {
            let (lasts, name) = (lifetime.as_secs(), role.request.session_name.as_str());
            let how = format!("{region}, {took} ms; {access_key_id}");
            Finding::good("assume", format!("{asked}: assumed for {lasts} s as {name} ({how})"))
        }
        Err(error) => {
            let id = error.request_id.as_deref();
            let id = id.map(|id| format!(", request id {id}")).unwrap_or_default();
            let what = format!("{asked}: {} ({}, {took} ms{id})", error.message, error.class);
            Finding::failed("assume", what).advised(Box::new(explain::advice(role, error)))
        }
    }
}

/// Reports what changes when one setting is left out: the differential probe.
pub fn probe(role: &Role, configured: &Attempt, variants: &[(Variant, Attempt)]) -> Vec<Finding> {
    let works = configured.outcome.is_ok();
    let tried = variants.iter();
    let mut findings: Vec<_> = tried.filter_map(|tried| compared(role, works, tried)).collect();
    if role.request.external_id.is_none() && works {
        let what = format!(
            "{} has no external id here, so nothing is known about whether it demands one; for an account of another company \
             it should",
            role.request.role_arn
        );
        findings.push(Finding::note("confused-deputy", what));
    }
    if !works && !variants.iter().any(|(_, attempt)| attempt.outcome.is_ok()) {
        let what = "nothing that is asked for beside the role itself makes the difference";
        findings.push(Finding::note("probe", what));
    }
    findings
}

/// Compares one variant with the request as it is configured, which works or does not.
fn compared(role: &Role, works: bool, (variant, attempt): &(Variant, Attempt)) -> Option<Finding> {
    let arn = &role.request.role_arn;
    let owner = format!("the owner of account {}", arn.account_id());
    let assumed = format!("{arn} can be assumed {}", variant.words());
    let finding = match (variant, works, &attempt.outcome) {
        (Variant::WithoutExternalId, true, Ok(_)) => Finding::failed("confused-deputy", assumed)
            .means("a confused deputy: whoever gets roletap to use this ARN for them reaches this account. AWS asks third parties \
                 to test for this before they accept a role")
            .ask(owner)
            .change("demand the external id in the trust policy: Condition StringEquals sts:ExternalId (`roletap policy` prints it)"),
        (Variant::WithoutExternalId, true, Err(error)) if error.class.needs_a_person() => {
            let what = format!("{arn} cannot be assumed without the external id, as it should be");
            Finding::good("confused-deputy", what)
        }
        (Variant::WithoutExternalId, false, Ok(_)) => {
            Finding::failed("external-id", format!("{assumed}, and not with it"))
                .means("the trust policy lets roletap's base identity in, and has a condition that the configured external id does not meet")
                .ask(owner)
                .change("compare the external id in the trust policy with the one that is configured here")
        }
        (Variant::WithoutTags, false, Ok(_)) => Finding::failed("tags", assumed)
            .means("sts:TagSession or sts:SetSourceIdentity is not allowed, in the trust policy or in that of roletap's base identity")
            .ask(format!("{owner}, and the administrators of the account of roletap's base identity"))
            .change("allow them beside sts:AssumeRole in both (`roletap policy` prints it), or drop `tags` and `source_identity`"),
        (Variant::WithoutPolicies, false, Ok(_)) => {
            let what = format!("{arn} can be assumed without the session policies");
            Finding::failed("session-policy", what)
                .means("the session policies are what is refused")
                .change("correct `policy` and `policy_arns`: the ARNs have to be of AWS or of the role's own account")
        }
        (Variant::WithoutTags | Variant::WithoutPolicies, true, _) => return None,
        (_, _, Err(error)) => {
            Finding::note("probe", format!("{}: {}", variant.words(), error.message))
        }
    };
    Some(finding)
}

impl Variant {
    fn words(self) -> &'static str {
        match self {
            Self::WithoutExternalId => "without the external id",
            Self::WithoutPolicies => "without session policies",
            Self::WithoutTags => "without tags and source identity",
        }
    }
}
