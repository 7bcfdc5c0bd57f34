//! The request identity as a digest: whether what was issued to an earlier process is what this one would ask for.

use std::fmt;

use sha2::{Digest, Sha256};

use super::AssumeRole;

/// The SHA-256 of everything that decides which credentials STS issues. Tells equal from different, and nothing else: an
/// external id does not leave the process in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestIdentity([u8; 32]);

impl RequestIdentity {
    /// Of a request.
    pub fn of(request: &AssumeRole) -> Self {
        // By name, so that a field which is added cannot be forgotten here.
        let AssumeRole {
            role_arn,
            session_name,
            external_id,
            policy,
            policy_arns,
            tags,
            transitive_tag_keys,
            source_identity,
            source,
        } = request;
        let mut fields = Fields(Sha256::new());
        fields.add([role_arn.as_str()]);
        fields.add([session_name.as_str()]);
        fields.add(external_id.iter().map(|id| id.as_str()));
        fields.add(policy.iter().map(String::as_str));
        fields.add(policy_arns.iter().map(String::as_str));
        fields.add(tags.iter().map(|(key, _)| key.as_str()));
        fields.add(tags.iter().map(|(_, value)| value.as_str()));
        fields.add(transitive_tag_keys.iter().map(String::as_str));
        fields.add(source_identity.iter().map(|identity| identity.as_str()));
        fields.add([source.as_str()]);
        Self(fields.0.finalize().into())
    }

    /// As it was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be kept.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for RequestIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestIdentity(..)")
    }
}

/// Each field with its count and each text with its length: no two requests run together into the same bytes.
struct Fields(Sha256);

impl Fields {
    fn add<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        let texts: Vec<&str> = texts.into_iter().collect();
        self.number(texts.len());
        for text in texts {
            self.number(text.len());
            self.0.update(text.as_bytes());
        }
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::config;

    fn identity(more: &str) -> RequestIdentity {
        let config = config(&["a"], 3600, more);
        let role = config.roles.into_values().next().unwrap();
        RequestIdentity::of(&role.request)
    }

    #[test]
    fn it_changes_with_the_request_and_with_nothing_else() {
        let plain = identity("");
        for same in [
            "",
            "account_id = true",
            "on_denied = \"drop\"",
            "required = false",
            "token_group = \"x\"",
        ] {
            assert!(identity(same) == plain, "{same}");
        }
        let others = [
            "external_id = \"ws-1\"",
            "external_id = \"ws-2\"",
            "role_session_name = \"other\"",
            "policy = '{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}'",
            "policy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]",
            "tags = { Team = \"x\" }",
            "tags = { Team = \"y\" }",
            "tags = { Tea = \"mx\" }",
            "tags = { Team = \"x\" }\ntransitive_tag_keys = [\"Team\"]",
            "source_identity = \"someone\"",
            "source_identity = \"another\"",
        ];
        for (at, one) in others.iter().enumerate() {
            assert!(identity(one) != plain, "{one}");
            for other in &others[at + 1..] {
                assert!(identity(one) != identity(other), "{one} and {other}");
            }
        }
    }
}
