//! What a workload has to be told: `roletap env`, and what `exec` sets.
//!
//! Three variables with one token in two of them, because clients differ: some know only the token, some only the file,
//! and where both are set they must agree. What comes before the container provider in every SDK's chain has to go.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::fetch::{DaemonResponse, fetch};
use super::{EnvFormat, EnvFront, Failure, load, print, role};
use crate::tokens;
use roletap_core::config::Config;
use roletap_core::credentials::PATH;
use roletap_core::role::Role;

/// A workload's settings.
#[derive(Debug)]
pub struct Settings {
    /// The URL of its credentials.
    pub url: String,
    /// The token and the path of its file; `None` with `unsafe_no_token`.
    pub token: Option<(Zeroizing<String>, PathBuf)>,
}

/// Variables that come before the container provider in the chain of some SDK.
pub const UNSET: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_PROFILE",
    PROFILE,
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// Variables that lead to the credentials endpoint, and so past every other endpoint.
const UNSET_FOR_OTHER_FRONTS: [&str; 3] = [
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Names the profile that is read of a file.
const PROFILE: &str = "AWS_PROFILE";

/// Addresses that must not be reached through a proxy.
pub const NO_PROXY: &str = "127.0.0.1,localhost,169.254.169.254,169.254.170.2,169.254.170.23";

/// Prints the variables that lead a workload to its role: `roletap env`.
pub fn env(config: &Path, name: &str, front: EnvFront, format: EnvFormat) -> Result<(), Failure> {
    let loaded = load(config, "no settings were printed")?;
    let config = &loaded.config;
    let role = role(config, name)?;
    let text = match front {
        EnvFront::Container => render(&Settings::of(config, role)?.variables(), &UNSET, format),
        EnvFront::Imds => {
            let mut unset = [UNSET.as_slice(), &UNSET_FOR_OTHER_FRONTS].concat();
            unset.sort_unstable();
            render(&imds_variables(config, role)?, &unset, format)
        }
        EnvFront::File => {
            let mut unset = [UNSET.as_slice(), &UNSET_FOR_OTHER_FRONTS].concat();
            unset.retain(|name| *name != PROFILE);
            unset.sort_unstable();
            render(&file_variables(role)?, &unset, format)
        }
    };
    print(&text)
}

/// Name and value of every variable that leads to the front of `[imds.*]` with this role.
fn imds_variables(
    config: &Config,
    role: &Role,
) -> Result<BTreeMap<&'static str, Zeroizing<String>>, Failure> {
    let Some(front) = config.imds.values().find(|imds| imds.role == role.name) else {
        return Err(Failure::config(format!("no [imds.NAME] serves role {}: add one", role.name)));
    };
    let address = reachable(&front.listen, &format!("imds.{}.listen", front.name), 80)?;
    let no_proxy = format!("{NO_PROXY},{}", address.ip());
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{address}")),
        ("NO_PROXY", no_proxy.clone()),
        ("no_proxy", no_proxy),
    ];
    Ok(variables.map(|(name, value)| (name, Zeroizing::new(value))).into())
}

/// Name and value of every variable that leads to the file of this role.
fn file_variables(role: &Role) -> Result<BTreeMap<&'static str, Zeroizing<String>>, Failure> {
    let Some(file) = &role.credentials_file else {
        return Err(Failure::config(format!(
            "role {} has no credentials_file: add credentials_file = \"/run/roletap/files/{}\"",
            role.name, role.name
        )));
    };
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        (PROFILE, file.profile.as_str().to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", file.path.display().to_string()),
    ];
    Ok(variables.map(|(name, value)| (name, Zeroizing::new(value))).into())
}

/// The first address that workloads can be told.
fn reachable(listen: &[SocketAddr], key: &str, default_port: u16) -> Result<SocketAddr, Failure> {
    let address =
        listen.first().copied().unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, default_port)));
    if address.port() == 0 {
        return Err(Failure::config(format!(
            "`{key}` asks for any port: name one, so that workloads can"
        )));
    }
    Ok(match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
    })
}

impl Settings {
    /// Of a role, with its token read from the file that the daemon writes.
    pub fn of(config: &Config, role: &Role) -> Result<Self, Failure> {
        let address = reachable(&config.server.listen, "server.listen", 5169)?;
        let token = match tokens::path_of(config, role) {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(&path).map(Zeroizing::new).map_err(|error| {
                    let hint = if error.kind() == std::io::ErrorKind::NotFound {
                        "; the daemon writes it when it starts: is it running?"
                    } else if error.kind() == std::io::ErrorKind::PermissionDenied {
                        "; `token_group` of the role names who may read it"
                    } else {
                        ""
                    };
                    Failure::io(
                        &error,
                        format!("cannot read the token file {}{hint}", path.display()),
                    )
                })?;
                Some((Zeroizing::new(text.trim().to_owned()), path))
            }
        };
        Ok(Self { url: format!("http://{address}{PATH}{}", role.name), token })
    }

    /// Asks the daemon for the role's credentials.
    pub fn ask(&self) -> Result<DaemonResponse, Failure> {
        fetch("GET", &self.url, self.token.as_ref().map(|(token, _)| token.as_str()))
    }

    /// Name and value of every variable that is set. Holds the token.
    pub fn variables(&self) -> BTreeMap<&'static str, Zeroizing<String>> {
        let mut set = BTreeMap::from([
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Zeroizing::new(self.url.clone())),
            ("AWS_EC2_METADATA_DISABLED", Zeroizing::new("true".to_owned())),
            ("NO_PROXY", Zeroizing::new(NO_PROXY.to_owned())),
            ("no_proxy", Zeroizing::new(NO_PROXY.to_owned())),
        ]);
        if let Some((token, path)) = &self.token {
            set.insert("AWS_CONTAINER_AUTHORIZATION_TOKEN", token.clone());
            set.insert(
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                Zeroizing::new(path.display().to_string()),
            );
        }
        set
    }
}

fn render(
    variables: &BTreeMap<&'static str, Zeroizing<String>>,
    unset: &[&str],
    format: EnvFormat,
) -> String {
    let mut out = String::new();
    for (name, value) in variables {
        let value = value.as_str();
        // Writing to a string cannot fail.
        let _ = match format {
            EnvFormat::Json => break,
            EnvFormat::Shell if name.eq_ignore_ascii_case("NO_PROXY") => {
                writeln!(out, "export {name}=\"${{{name}:+${name},}}{value}\"")
            }
            EnvFormat::Shell => writeln!(out, "export {name}={}", quoted(value)),
            EnvFormat::Systemd => writeln!(out, "Environment=\"{name}={}\"", in_unit(value)),
            EnvFormat::Docker => writeln!(out, "{name}={value}"),
        };
    }
    let words = unset.join(" ");
    let _ = match format {
        EnvFormat::Shell => writeln!(out, "unset {words}"),
        EnvFormat::Systemd => writeln!(out, "UnsetEnvironment={words}"),
        // An env-file cannot unset anything.
        EnvFormat::Docker => writeln!(out, "# must not be set: {words}"),
        EnvFormat::Json => {
            let set: BTreeMap<_, _> =
                variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            writeln!(out, "{:#}", serde_json::json!({ "set": set, "unset": unset }))
        }
    };
    out
}

/// Quotes a value for a POSIX shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Between double quotes in a unit file: escapes are C's, and % begins a specifier (systemd.syntax(7), systemd.unit(5)).
fn in_unit(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_a_unit_and_a_shell() {
        assert_eq!(in_unit(r#"a"b\c%d$e"#), r#"a\"b\\c%%d$e"#);
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
