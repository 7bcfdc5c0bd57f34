//! The callers that may have a role, beside showing its token.

use super::InvalidValue;

/// The demands of a role on its callers. The default demands nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Callers {
    /// The users of `allow_users`, one of which the caller has to be.
    pub users: Option<Vec<User>>,
    /// The units of `allow_units`, in one of which the caller has to run.
    pub units: Option<Vec<UnitName>>,
}

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name or number, as it was configured.
    pub name: String,
    /// The number that it had when the configuration was read.
    pub uid: u32,
}

/// The full name of a unit of the system's own systemd: `risingwave.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(pub(super) String);

/// The number that the kernel gives for a user that it cannot name: `nobody`.
pub const OVERFLOW_UID: u32 = 65_534;

/// The kinds of units that hold processes of their own.
const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

impl Callers {
    /// True if the token is all it takes.
    pub fn demand_nothing(&self) -> bool {
        self.users.is_none() && self.units.is_none()
    }

    /// Iterates over the keys that demand something.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let users = self.users.is_some().then_some("allow_users");
        users.into_iter().chain(self.units.is_some().then_some("allow_units"))
    }
}

impl UnitName {
    /// Parses a name as `systemctl` shows it, with its ending.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let odd = |c: char| !(c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
        if let Some(odd) = text.chars().find(|c| odd(*c)) {
            return Err(InvalidValue::new(
                format!("holds {odd:?}"),
                "expected the name of a unit as `systemctl` shows it, such as \"risingwave.service\"",
            ));
        }
        if !KINDS.iter().any(|kind| text.ends_with(kind)) {
            return Err(InvalidValue::new(
                format!("names `{text}`, which has no ending of a unit that runs something"),
                format!("did you mean \"{text}.service\"?"),
            ));
        }
        if text.starts_with('.') || text.len() > 255 {
            return Err(InvalidValue::new(
                format!("names `{text}`, which is no unit"),
                "expected the name of a unit as `systemctl` shows it, such as \"risingwave.service\"",
            ));
        }
        if text.contains("@.") {
            return Err(InvalidValue::new(
                format!("names the template `{text}`"),
                "name its instances, one by one: \"risingwave@1.service\"",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}
