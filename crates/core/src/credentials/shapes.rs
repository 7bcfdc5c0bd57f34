//! The same credentials in the shapes of other protocols, for clients that do not speak ours. Made when they are asked
//! for: such clients are few, and what is kept twice has to be wiped twice.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{Credentials, account_id, concat, rfc3339};
use crate::role::{ProfileName, Role};

impl Credentials {
    /// The document of EC2's instance metadata service. **Secret**: see [`Credentials::document`].
    pub fn imds_document(&self, role: &Role) -> Bytes {
        let account = account_id(role)
            .map_or_else(String::new, |id| format!(",\n  \"AccountId\" : \"{id}\""));
        let start = format!(
            "{{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"{}\",\n  \"Type\" : \"AWS-HMAC\",\n  \
             \"AccessKeyId\" : \"{}\",\n  \"SecretAccessKey\" : \"",
            rfc3339(self.issued_at()),
            self.access_key_id(),
        );
        let end =
            format!("\",\n  \"Expiration\" : \"{}\"{account}\n}}", rfc3339(self.expires_at()));
        let document = self.opened(|_, secret, token| {
            concat(&[&start, secret, "\",\n  \"Token\" : \"", token, &end])
        });
        // The last reader to let go wipes it.
        Bytes::from_owner(document)
    }

    /// A shared credentials file with one profile, after `head`. **Secret**: see `credentials_file.rs`.
    pub fn shared_credentials(&self, head: &str, profile: &ProfileName) -> Zeroizing<String> {
        self.opened(|key_id, secret, token| {
            let start = format!(
                "{head}[{}]\naws_access_key_id = {key_id}\naws_secret_access_key = ",
                profile.as_str()
            );
            concat(&[&start, secret, "\naws_session_token = ", token, "\n"])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, config, grant, role};

    #[test]
    fn the_document_of_instance_metadata_has_what_every_client_reads() {
        let plain = role("a", 3600);
        let held = Credentials::new(&grant(7, Some(at(3600))), &plain, at(0)).unwrap();
        let document: serde_json::Value =
            serde_json::from_slice(&held.imds_document(&plain)).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "Code": "Success",
                "LastUpdated": rfc3339(at(0)),
                "Type": "AWS-HMAC",
                "AccessKeyId": "ASIA0000000000000007",
                "SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "Token": "FwoGZXIvYXdzEJr//".repeat(50),
                "Expiration": rfc3339(at(3600)),
            })
        );
        let with = config(&["a"], 3600, "account_id = true");
        let with = with.roles.values().next().unwrap();
        let document: serde_json::Value =
            serde_json::from_slice(&held.imds_document(with)).unwrap();
        assert_eq!(document["AccountId"], "111122223333");
    }

    #[test]
    fn a_text_with_secrets_has_not_grown() {
        let role = config(&["a"], 3600, "credentials_file = \"/run/roletap/files/a\"");
        let role = role.roles.values().next().unwrap();
        let held = Credentials::new(&grant(7, Some(at(3600))), role, at(0)).unwrap();
        let profile = &role.credentials_file.as_ref().unwrap().profile;
        let text = held.shared_credentials("# whose it is\n", profile);
        assert_eq!(text.capacity(), text.len());
        held.for_signing(|_, secret, token| {
            assert!(text.contains(&format!("aws_secret_access_key = {secret}\n")));
            assert!(text.ends_with(&format!("aws_session_token = {token}\n")));
            let joined = concat(&["before", secret, "between", token]);
            assert_eq!(joined.capacity(), joined.len());
        });
    }
}
