//! A workload's side: whether its SDK will find our endpoint, and nothing before it. Pure.
//!
//! What is said of SDKs here was read in their sources or seen: every chain puts keys in the environment, a web identity
//! token and a profile before the container provider, and a few do something else in silence when that fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::{Finding, Unadvised, daemon, host};
use crate::credentials::PATH;
use crate::token_digest::Digest;

/// Facts about one workload.
#[derive(Debug, Default)]
pub struct ConsumerFacts<'a> {
    /// The workload's name, such as `process 4711`.
    pub name: String,
    /// The workload's environment.
    pub variables: BTreeMap<String, Zeroizing<String>>,
    /// The role that it should have, where one is named.
    pub role: Option<&'a str>,
    /// The addresses of roletap's credentials endpoint.
    pub listen: &'a [SocketAddr],
    /// Each role, with the digest of its token where it is known.
    pub tokens: Vec<(&'a str, Option<Digest>)>,
    /// The content of the token file that the environment names.
    pub token_file: Option<Result<Zeroizing<String>, String>>,
    /// Instance metadata answers on this host.
    pub metadata_answers: bool,
}

const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const ELSEWHERE: &str = "its SDK asks elsewhere, or is not let to ask";
const AS_PRINTED: &str = "set it to what `roletap env` prints";
const TOKEN_AS_PRINTED: &str = "set what `roletap env` prints: the token in both variables' ways";

/// Variables that come before the container provider in every chain, the meaning, and the variables to unset.
const SHADOWS: &[(&str, &str, &str)] = &[
    (
        "AWS_ACCESS_KEY_ID",
        "static keys in the environment win over roletap in every SDK, and they expire, or never change",
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
    ),
    (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "a web identity token comes before the container provider in every SDK",
        "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
    ),
    (
        "AWS_PROFILE",
        "a named profile comes before the container provider, and where it has no credentials some SDKs stop",
        "AWS_PROFILE",
    ),
    (
        "AWS_DEFAULT_PROFILE",
        "a named profile comes before the container provider, and where it has no credentials some SDKs stop",
        "AWS_DEFAULT_PROFILE",
    ),
];

impl ConsumerFacts<'_> {
    /// Everything that can be said.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.shadows(&mut findings);
        let role = self.address(&mut findings);
        self.token(role, &mut findings);
        self.falls_through(&mut findings);
        for advice in findings.iter_mut().filter_map(|finding| finding.advice.as_mut()) {
            advice.ask = format!("whoever starts {}", self.name);
        }
        findings
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    fn shadows(&self, findings: &mut Vec<Finding>) {
        let before = findings.len();
        for (name, meaning, fellows) in SHADOWS {
            if self.get(name).is_some() {
                let set = Finding::failed("shadowed", format!("{name} is set"));
                findings.push(set.means(*meaning).change(format!("unset {fellows}")));
            }
        }
        let disabled = self.get("DISABLE_DEFAULT_CREDENTIAL");
        if disabled.is_some_and(|value| !["0", "false"].contains(&value)) {
            let set = Finding::failed("shadowed", "DISABLE_DEFAULT_CREDENTIAL is set")
                .means("RisingWave then looks for no credentials in its environment at all")
                .change("unset it, and set `enable_config_load` where the connector has it");
            findings.push(set);
        }
        if findings.len() == before {
            findings.push(Finding::good("shadowed", "nothing comes before the container provider"));
        }
    }

    /// Checks the URL of the endpoint, and returns the role in it.
    fn address(&self, findings: &mut Vec<Finding>) -> Option<&str> {
        if let Some(relative) = self.get(RELATIVE) {
            let (what, meaning) = match self.get(FULL) {
                Some(_) => (
                    format!("{RELATIVE} is set beside {FULL}"),
                    "the relative one wins in nearly every SDK, and asks at 169.254.170.2",
                ),
                None => (
                    format!("{RELATIVE} is {relative}"),
                    "it asks at 169.254.170.2, which is not where roletap listens unless it was told to",
                ),
            };
            let failed = Finding::failed("address", what).means(meaning);
            findings.push(failed.change(format!("unset {RELATIVE}")));
        }
        let Some(url) = self.get(FULL) else {
            let unset = Finding::failed("address", format!("{FULL} is not set"))
                .means("its SDK does not know of roletap")
                .change("set what `roletap env` prints");
            findings.push(unset);
            return None;
        };
        let Some(rest) = url.strip_prefix("http://") else {
            findings.push(elsewhere("does not begin with http://").change(AS_PRINTED));
            return None;
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let listens = self.listen.iter().any(|ours| is_at(authority, *ours));
        if !listens {
            let ours: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
            let what = format!("names {authority}, and roletap listens at {}", ours.join(", "));
            findings.push(elsewhere(&what).change(AS_PRINTED));
        } else if host::host_of(url).eq_ignore_ascii_case("localhost") {
            let by_name = Finding::warning("address", format!("{FULL} names localhost"))
                .means("some clients allow only the address (fluent-bit), others resolve the name, and may get ::1")
                .change("name 127.0.0.1, as `roletap env` prints it");
            findings.push(by_name);
        }
        let path = path.split('?').next().unwrap_or(path);
        let Some(role) = path.strip_prefix(PATH) else {
            let what = format!("the path in {FULL} is {path:?}, not {PATH}ROLE");
            findings.push(Finding::failed("address", what).means(ELSEWHERE).change(AS_PRINTED));
            return None;
        };
        findings.extend(self.named(role).or_else(|| {
            let what = format!("it asks for the role `{role}` at {authority}");
            listens.then(|| Finding::good("address", what))
        }));
        Some(role)
    }

    /// Checks the role that the URL names.
    fn named(&self, role: &str) -> Option<Finding> {
        if let Some(wanted) = self.role.filter(|wanted| *wanted != role) {
            let other = elsewhere(&format!("names the role `{role}`, not `{wanted}`"));
            return Some(other.change(format!("set it to what `roletap env {wanted}` prints")));
        }
        let is_known = self.tokens.iter().any(|(known, _)| *known == role);
        let unknown = elsewhere(&format!("names the role `{role}`, which is not configured"));
        (!is_known).then(|| unknown.change(AS_PRINTED))
    }

    fn token(&self, role: Option<&str>, findings: &mut Vec<Finding>) {
        let (by_variable, named) = (self.get(TOKEN), self.get(TOKEN_FILE));
        if by_variable.is_none() && named.is_none() {
            let what = format!("neither {TOKEN_FILE} nor {TOKEN} is set");
            let none = Finding::failed("token", what)
                .means("roletap answers 401 to whoever shows no token")
                .change(TOKEN_AS_PRINTED);
            findings.push(none);
            return;
        }
        let by_file = named.and_then(|_| self.token_in_file(findings));
        let role = role.or(self.role);
        let expected = self.tokens.iter().find(|(name, _)| Some(*name) == role);
        let expected = expected.and_then(|(_, digest)| *digest);
        if let Some(expected) = expected {
            for (name, text) in [(TOKEN_FILE, by_file), (TOKEN, by_variable)] {
                findings.extend(text.and_then(|text| self.wrong_token(name, text, expected)));
            }
        }
        if by_file.zip(by_variable).is_some_and(|(file, variable)| file.trim() != variable) {
            let what = format!("{TOKEN} and the file of {TOKEN_FILE} hold different tokens");
            let differ = Finding::failed("token", what)
                .means("most SDKs take the file, Java, JavaScript v2 and OpenDAL the variable: one of them is refused")
                .change(TOKEN_AS_PRINTED);
            findings.push(differ);
        }
        if named.is_none() {
            let no_file = Finding::warning("token", format!("{TOKEN_FILE} is not set"))
                .means("object_store (polars, delta-rs, DataFusion) then ignores the endpoint without a word, and nobody sees a new token")
                .change(TOKEN_AS_PRINTED);
            findings.push(no_file);
        }
        if by_variable.is_none() {
            let no_variable = Finding::warning("token", format!("{TOKEN} is not set"))
                .means(
                    "older clients know no token file: Go v1, Java v1, AWS CLI 2.9, s5cmd, restic",
                )
                .change(TOKEN_AS_PRINTED);
            findings.push(no_variable);
        }
        let complained = findings.iter().any(|finding| finding.check.starts_with("token"));
        if !complained && expected.is_some() {
            findings.push(Finding::good("token", "its token is the role's"));
        }
    }

    /// Checks the file that the environment names for the token, and returns its content.
    fn token_in_file(&self, findings: &mut Vec<Finding>) -> Option<&str> {
        match self.token_file.as_ref()? {
            Ok(text) => {
                let file = format!("the file of {TOKEN_FILE}");
                findings.extend(daemon::blanks_around(text, &file));
                Some(text)
            }
            Err(what) => {
                let what = format!("the file of {TOKEN_FILE} cannot be read here: {what}");
                let unread = Finding::warning("token", what)
                    .means("it may be there for the workload and not for whoever asks now")
                    .change(
                        "see that the workload may read it; `token_group` of the role says who may",
                    );
                findings.push(unread);
                None
            }
        }
    }

    fn wrong_token(&self, variable: &str, text: &str, expected: Digest) -> Option<Finding> {
        let found = Digest::of(text.trim().as_bytes());
        if found == expected {
            return None;
        }
        let whose = match self.tokens.iter().find(|(_, known)| *known == Some(found)) {
            Some((other, _)) => format!("is that of the role `{other}`"),
            None => "is not the role's token of now".to_owned(),
        };
        let wrong = Finding::failed("token", format!("the token of {variable} {whose}"))
            .means("roletap refuses it; a token that was replaced is honoured for twelve hours, and not longer")
            .change("set what `roletap env` prints, and start the workload anew");
        Some(wrong)
    }

    /// Checks what an SDK does in silence when roletap answers with an error.
    fn falls_through(&self, findings: &mut Vec<Finding>) {
        let variables: BTreeMap<String, String> = self
            .variables
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase().ends_with("_proxy"))
            .map(|(name, value)| (name.clone(), value.as_str().to_owned()))
            .collect();
        if let Some(ours) = self.listen.first() {
            findings.push(host::caught(&variables, *ours).unwrap_or_else(|| {
                Finding::good("proxy-loopback", "no proxy stands between it and roletap")
            }));
        }
        let disabled = self.get("AWS_EC2_METADATA_DISABLED");
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return;
        }
        let unset = "AWS_EC2_METADATA_DISABLED is not set";
        findings.push(if self.metadata_answers {
            let what = format!("{unset}, and instance metadata answers on this host");
            Finding::warning("metadata", what)
                .means("where roletap answers with an error, Java v2 and OpenDAL go on to instance metadata, and work as the host's own \
                        role without a word")
                .change("set AWS_EC2_METADATA_DISABLED=true, as `roletap env` prints it (object_store does not heed it)")
        } else {
            let harmless = "instance metadata does not answer here, so that is harmless on this host";
            Finding::note("metadata", format!("{unset}; {harmless}"))
        });
    }
}

/// Begins a finding about the endpoint's URL.
fn elsewhere(what: &str) -> Unadvised {
    Finding::failed("address", format!("{FULL} {what}")).means(ELSEWHERE)
}

fn is_at(authority: &str, ours: SocketAddr) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(0)),
        _ => (authority, 80),
    };
    let host = host.trim_matches(['[', ']']);
    let same_host = match host.parse::<std::net::IpAddr>() {
        Ok(ip) => {
            ip == ours.ip()
                || ours.ip().is_unspecified() && ip.is_loopback() && ip.is_ipv4() == ours.is_ipv4()
        }
        Err(_) => {
            host.eq_ignore_ascii_case("localhost")
                && (ours.ip().is_loopback() || ours.ip().is_unspecified())
        }
    };
    same_host && port == ours.port()
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    const LISTEN: [SocketAddr; 1] =
        [SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 5169))];
    const URL: &str = "http://127.0.0.1:5169/v1/credentials/orders";

    fn consumer(set: &[(&str, &str)]) -> ConsumerFacts<'static> {
        ConsumerFacts {
            name: "the sink".to_owned(),
            variables: set
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned())))
                .collect(),
            listen: &LISTEN,
            tokens: vec![
                ("orders", Some(Digest::of(b"good"))),
                ("billing", Some(Digest::of(b"other"))),
            ],
            ..ConsumerFacts::default()
        }
    }

    fn as_printed() -> Vec<(&'static str, &'static str)> {
        vec![
            (FULL, URL),
            (TOKEN, "good"),
            (TOKEN_FILE, "/t"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }

    #[test]
    fn what_env_prints_is_well() {
        let mut consumer = consumer(&as_printed());
        consumer.token_file = Some(Ok(Zeroizing::new("good".to_owned())));
        let findings = consumer.findings();
        assert!(findings.iter().all(|finding| finding.mark == Mark::Good), "{findings:#?}");
    }

    #[test]
    fn each_mistake_has_its_finding() {
        for (name, value, what) in [
            ("AWS_ACCESS_KEY_ID", "AKIA", "AWS_ACCESS_KEY_ID is set"),
            ("AWS_PROFILE", "x", "AWS_PROFILE is set"),
            (RELATIVE, "/x", "is set beside"),
            (FULL, "http://127.0.0.1:5170/v1/credentials/orders", "roletap listens at"),
            (FULL, "http://127.0.0.1:5169/v1/credentials/nobody", "not configured"),
            (FULL, "http://127.0.0.1:5169/role/orders", "the path in"),
            (FULL, "https://127.0.0.1:5169/v1/credentials/orders", "http://"),
            (FULL, "http://localhost:5169/v1/credentials/orders", "names localhost"),
            (FULL, "", "is not set"),
            (TOKEN, "other", "is that of the role `billing`"),
            (TOKEN, "old", "is not the role's token of now"),
            (TOKEN, "", "AWS_CONTAINER_AUTHORIZATION_TOKEN is not set"),
            (TOKEN_FILE, "", "TOKEN_FILE is not set"),
            ("HTTP_PROXY", "http://proxy:1", "would go to the proxy"),
            ("DISABLE_DEFAULT_CREDENTIAL", "1", "DISABLE_DEFAULT_CREDENTIAL is set"),
        ] {
            let mut set = as_printed();
            set.push((name, value));
            let findings = consumer(&set).findings();
            let told = findings
                .iter()
                .any(|finding| finding.what.contains(what) && finding.mark != Mark::Good);
            assert!(told, "{name}={value}: {findings:#?}");
        }
    }
}
