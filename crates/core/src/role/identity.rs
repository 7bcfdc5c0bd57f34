//! The request identity as a digest, by which a process knows credentials that an earlier one was issued.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AssumeRole, Base, Origin, TokenIdentity, WebIdentity, hidden};

/// The SHA-256 of everything that decides which credentials STS issues. Tells equal from different, and nothing else: an
/// external id does not leave the process in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestIdentity([u8; 32]);

impl RequestIdentity {
    /// Computes the digest of all that a request to STS says.
    pub fn new(request: &AssumeRole) -> Self {
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
            base,
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
        fields.base(base);
        Self(fields.0.finalize().into())
    }

    /// Returns 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

hidden!(RequestIdentity);

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

    /// The definition of an identity counts, and not its name. A parent's request counts, since its session's tags and source
    /// identity are inherited.
    fn base(&mut self, base: &Base) {
        match base {
            Base::Role(parent) => {
                self.add(["role"]);
                self.0.update(RequestIdentity::new(&parent.request).0);
            }
            Base::Token(TokenIdentity { token_file, provider_id }) => {
                self.add(["token"]);
                self.paths([Some(token_file)]);
                self.add(provider_id.iter().map(String::as_str));
            }
            Base::Source(source) => self.origin(&source.origin),
        }
    }

    fn origin(&mut self, origin: &Origin) {
        match origin {
            Origin::Chain => self.add(["chain"]),
            Origin::Environment => self.add(["environment"]),
            Origin::Profile { name, config_file, shared_credentials_file } => {
                self.add(["profile", name]);
                self.paths([config_file.as_ref(), shared_credentials_file.as_ref()]);
            }
            Origin::WebIdentity(WebIdentity { token_file, role_arn, session_name }) => {
                self.add(["web identity", role_arn.as_str(), session_name.as_str()]);
                self.paths([Some(token_file)]);
            }
            Origin::InstanceMetadata { endpoint } => {
                self.add(["instance metadata"]);
                self.add(endpoint.iter().map(String::as_str));
            }
            Origin::Process(command) => self.add(["process", command.as_str()]),
            Origin::KeyFiles { access_key_id, secret_access_key, session_token } => {
                self.add(["key files"]);
                self.paths([Some(access_key_id), Some(secret_access_key), session_token.as_ref()]);
            }
        }
    }

    fn paths<'a>(&mut self, paths: impl IntoIterator<Item = Option<&'a PathBuf>>) {
        for path in paths {
            let bytes = path.map(|path| path.as_os_str().as_bytes());
            self.number(bytes.map_or(usize::MAX, <[u8]>::len));
            self.0.update(bytes.unwrap_or_default());
        }
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::config;

    fn identity(more: &str) -> RequestIdentity {
        let config = config(&["a"], 3600, more);
        let role = config.roles.into_values().next().unwrap();
        RequestIdentity::new(&role.request)
    }

    /// Of the last role of a configuration with these tables.
    fn of_last(tables: &str) -> RequestIdentity {
        let text = format!(
            "[sts]\nregion = \"eu-central-1\"\n{tables}\n[role.z]\nrole_arn = \"arn:aws:iam::111122223333:role/z\"\nsource = "
        );
        let (text, source) = match tables {
            "" => (text, "\"default\""),
            tables if tables.contains("[role.") => (text, "\"role.p\""),
            _ => (text, "\"s\""),
        };
        let sources =
            vec![crate::config::ConfigFile::text("roletap.toml", format!("{text}{source}\n"))];
        let host = crate::config::FixedHost::default();
        let config = crate::config::Config::parse(sources, &host)
            .unwrap_or_else(|report| panic!("{}", report.render("", false)))
            .config;
        let (_, role) = config.roles.into_iter().next_back().unwrap();
        RequestIdentity::new(&role.request)
    }

    #[test]
    fn it_changes_with_who_signs() {
        let parent = "[role.p]\nrole_arn = \"arn:aws:iam::111122223333:role/p\"";
        let all = [
            String::new(),
            "[source.s]\nenvironment = true".to_owned(),
            "[source.s]\nprofile = \"a\"".to_owned(),
            "[source.s]\nprofile = \"a\"\nconfig_file = \"/x\"".to_owned(),
            "[source.s]\nprofile = \"a\"\nshared_credentials_file = \"/x\"".to_owned(),
            "[source.s]\nimds = true".to_owned(),
            "[source.s]\nimds = true\nimds_endpoint = \"http://[::1]:1\"".to_owned(),
            "[source.s]\ncredential_process = \"a\"".to_owned(),
            "[source.s]\naccess_key_id_file = \"/x\"\nsecret_access_key_file = \"/y\"".to_owned(),
            "[source.s]\naccess_key_id_file = \"/x\"\nsecret_access_key_file = \"/y\"\nsession_token_file = \"/z\"".to_owned(),
            "[source.s]\nweb_identity_token_file = \"/x\"\nrole_arn = \"arn:aws:iam::111122223333:role/b\"".to_owned(),
            parent.to_owned(),
            format!("{parent}\nexternal_id = \"x-1\""),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(of_last(one) == of_last(one));
            for other in &all[at + 1..] {
                assert!(of_last(one) != of_last(other), "{one} and {other}");
            }
        }
        assert!(of_last("[source.s]") == of_last(""), "a name is no identity");
        assert!(of_last(&format!("{parent}\nrequired = false")) == of_last(parent));
    }

    #[test]
    fn it_changes_with_the_request_and_with_nothing_else() {
        let plain = identity("");
        for same in [
            "",
            "account_id = true",
            "min_remaining = \"40m\"",
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
