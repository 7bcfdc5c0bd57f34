//! The callers that a role lets in, beside showing its token.

use super::{InvalidValue, check_characters, refuse};

/// The policy of a role about its callers. The default lets in everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallerPolicy {
    /// The users of `allow_users`.
    pub users: Option<Vec<User>>,
    /// The units of `allow_units`.
    pub units: Option<Vec<UnitName>>,
}

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The configured name or number.
    pub name: String,
    /// Its number at the time that the configuration was read.
    pub uid: u32,
}

/// The full name of a unit of the system's own systemd: `risingwave.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(pub(super) String);

/// The user id that the kernel uses for users that it cannot name: `nobody`.
pub const OVERFLOW_UID: u32 = 65_534;

/// The kinds of units that hold processes of their own.
const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

impl CallerPolicy {
    /// Returns true if the token is enough.
    pub fn is_empty(&self) -> bool {
        self.users.is_none() && self.units.is_none()
    }

    /// Returns the configured keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let users = self.users.is_some().then_some("allow_users");
        users.into_iter().chain(self.units.is_some().then_some("allow_units"))
    }
}

impl UnitName {
    /// Parses a name as `systemctl` shows it, with its suffix.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        const EXPECTED: &str =
            "expected the name of a unit as `systemctl` shows it, such as \"risingwave.service\"";
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        check_characters(text, allowed, EXPECTED)?;
        if !KINDS.iter().any(|kind| text.ends_with(kind)) {
            return refuse(
                format!("names `{text}`, which has no ending of a unit that runs something"),
                format!("did you mean \"{text}.service\"?"),
            );
        }
        if text.starts_with('.') || text.len() > 255 {
            return refuse(format!("names `{text}`, which is no unit"), EXPECTED);
        }
        if text.contains("@.") {
            return refuse(
                format!("names the template `{text}`"),
                "name its instances, one by one: \"risingwave@1.service\"",
            );
        }
        Ok(Self(text.to_owned()))
    }
}
