//! The identity that signs for a role: a source, another role, or none.
//!
//! A chain is resolved when the configuration is read, so a role holds the role it is chained to, and a ring of roles that
//! wait for each other cannot be written down.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{InvalidValue, Role, RoleArn, SessionName, check_name, refuse};

/// The identity that a role is assumed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The request is signed with the credentials of a `[source.*]`.
    Source(Arc<Source>),
    /// The request is signed with the credentials of another role: a chain.
    Role(Arc<Role>),
    /// The request is not signed, and shows a token.
    Token(TokenIdentity),
}

/// A token of an identity provider that a role is assumed with: `operation = "assume_role_with_web_identity"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIdentity {
    /// The path of the token, which is read anew for each attempt.
    pub token_file: PathBuf,
    /// The provider of an OAuth 2.0 token, which does not name it itself.
    pub provider_id: Option<String>,
}

impl Base {
    /// Returns the role that this one is chained to.
    pub fn parent(&self) -> Option<&Arc<Role>> {
        match self {
            Self::Role(parent) => Some(parent),
            Self::Source(_) | Self::Token(_) => None,
        }
    }

    /// Returns the source at the beginning of the chain, if there is one.
    pub fn source(&self) -> Option<&Arc<Source>> {
        match self {
            Self::Source(source) => Some(source),
            Self::Role(parent) => parent.request.base.source(),
            Self::Token(_) => None,
        }
    }

    /// True if this is known to be a role session without asking AWS, which chains for an hour at most.
    pub fn is_role_session(&self) -> bool {
        match self {
            Self::Role(_) => true,
            Self::Source(source) => source.origin.role_arn().is_some(),
            // A token is no role: the session that it is exchanged for may last as long as any.
            Self::Token(_) => false,
        }
    }
}

/// As it stands in the configuration: `legacy`, `role.other`.
impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(source) => write!(f, "{}", source.name),
            Self::Role(parent) => write!(f, "role.{}", parent.name),
            Self::Token(_) => f.write_str("web identity"),
        }
    }
}

/// One configured source of base credentials: `[source.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name in `[source.NAME]`, and in metric labels.
    pub name: SourceName,
    /// The origin of its credentials.
    pub origin: Origin,
}

impl Source {
    /// Returns the source of roles that name none: the SDK's chain, under the name `default`.
    pub fn default_chain() -> Self {
        Self { name: SourceName(SourceName::DEFAULT.to_owned()), origin: Origin::Chain }
    }
}

/// The origin of base credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The first of environment, profile, web identity and instance metadata that has any. Never the container provider.
    Chain,
    /// The environment: `AWS_ACCESS_KEY_ID` and its kin.
    Environment,
    /// A profile of the shared files, with all that it leads to.
    Profile {
        /// The name in the files.
        name: String,
        /// The path that replaces `~/.aws/config`.
        config_file: Option<PathBuf>,
        /// The path that replaces `~/.aws/credentials`.
        shared_credentials_file: Option<PathBuf>,
    },
    /// A token in a file, which is exchanged for a role.
    WebIdentity(WebIdentity),
    /// The instance profile of EC2.
    InstanceMetadata {
        /// The URL that replaces `http://169.254.169.254`.
        endpoint: Option<String>,
    },
    /// A program that prints credentials.
    Process(CommandLine),
    /// Static keys, one in each file.
    KeyFiles {
        /// The path of the access key id.
        access_key_id: PathBuf,
        /// The path of the secret access key.
        secret_access_key: PathBuf,
        /// The path of the session token, for temporary keys that somebody else renews.
        session_token: Option<PathBuf>,
    },
}

impl Origin {
    /// Returns the role that its credentials are a session of, where the configuration says so.
    pub fn role_arn(&self) -> Option<&RoleArn> {
        match self {
            Self::WebIdentity(identity) => Some(&identity.role_arn),
            Self::Chain
            | Self::Environment
            | Self::Profile { .. }
            | Self::InstanceMetadata { .. }
            | Self::Process(_)
            | Self::KeyFiles { .. } => None,
        }
    }
}

/// In words, for people. Of a command only the program is named: its arguments may hold a secret.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain => {
                f.write_str("the first of environment, profile, web identity and instance metadata")
            }
            Self::Environment => f.write_str("the environment"),
            Self::Profile { name, .. } => write!(f, "the profile {name}"),
            Self::WebIdentity(identity) => write!(
                f,
                "the token in {}, traded for {}",
                identity.token_file.display(),
                identity.role_arn
            ),
            Self::InstanceMetadata { endpoint: None } => f.write_str("instance metadata"),
            Self::InstanceMetadata { endpoint: Some(endpoint) } => {
                write!(f, "instance metadata at {endpoint}")
            }
            Self::Process(command) => write!(f, "the command {}", command.program()),
            Self::KeyFiles { access_key_id, .. } => {
                write!(f, "the key in {}", access_key_id.display())
            }
        }
    }
}

/// A token of an identity provider, and the role that it is exchanged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// The path of the token, which is read anew at each use.
    pub token_file: PathBuf,
    /// The role to assume with the token.
    pub role_arn: RoleArn,
    /// The session's name in CloudTrail.
    pub session_name: SessionName,
}

/// A command for the shell. May hold a secret, so only its program is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine(String);

impl CommandLine {
    /// Parses a command, and refuses one that runs nothing.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text.trim().is_empty() {
            return refuse("is empty", "expected a command");
        }
        if text.contains('\0') {
            return refuse("holds a zero byte", "expected a command");
        }
        Ok(Self(text.to_owned()))
    }

    /// The command as the shell gets it. **May be secret.**
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file name of its program.
    pub fn program(&self) -> &str {
        let first = self.0.split_whitespace().next().unwrap_or_default();
        let path = Path::new(first.trim_matches(['"', '\'']));
        // `TOKEN=… command` is a secret, not a program.
        path.file_name()
            .and_then(|name| name.to_str())
            .filter(|name| !name.contains('='))
            .unwrap_or("…")
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandLine({} ..)", self.program())
    }
}

/// A source's name: safe in a metric label. As a role's name, and not one that begins like a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(pub(super) String);

impl SourceName {
    /// The name of the source of roles that name none.
    pub const DEFAULT: &str = "default";
    /// The prefix that names a role in place of a source.
    pub const ROLE_PREFIX: &str = "role.";

    /// Parses `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, and refuses a text that begins with `role.`.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        check_name(text)?;
        if text.starts_with(Self::ROLE_PREFIX) {
            return refuse(
                "begins with `role.`",
                "`source = \"role.NAME\"` means a role: choose another name",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_shows_no_arguments() {
        for (text, shown) in [
            ("/opt/bin/vend --password sentinel", "vend"),
            ("'/opt/bin/vend' sentinel", "vend"),
            ("PASSWORD=sentinel vend", "…"),
            ("vend", "vend"),
        ] {
            let command = CommandLine::parse(text).unwrap();
            assert_eq!(command.program(), shown);
            let printed = format!("{command:?} {}", Origin::Process(command.clone()));
            assert!(!printed.contains("sentinel"), "{printed}");
        }
        assert!(CommandLine::parse("  ").is_err());
    }

    #[test]
    fn a_source_is_not_taken_for_a_role() {
        assert!(SourceName::parse("roles").is_ok());
        for bad in ["role.x", "", "a b", "-a"] {
            assert!(SourceName::parse(bad).is_err(), "{bad}");
        }
    }
}
