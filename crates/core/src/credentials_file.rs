//! A role's credentials as a shared credentials file: what stands in it, and what has to be done about it. Pure.
//!
//! The first line is a comment that says whose the file is and when its credentials expire. By it a later process knows what an earlier one
//! has left, and no file without it is ever replaced or removed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use crate::credentials::{Credentials, rfc3339};
use crate::failure::Class;
use crate::lifecycle::RoleState;
use crate::role::{AssumeRole, Base, CredentialsFile, OnDenied, RequestIdentity, Role, Source};

const MARK: &str = "# written by roletap, which replaces it: role ";
const UNTIL: &str = ", until ";
const GRANT: &str = ", grant ";

/// The state of a credentials file on disk, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnDisk {
    /// It has not been inspected yet, or has to be written again.
    Unknown,
    /// There is no file at the path.
    Absent,
    /// A file that this or an earlier roletap process wrote.
    Ours(FileHeader),
}

/// The first line of a credentials file that roletap wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    role: String,
    until: SystemTime,
    /// A digest of what the credentials may do.
    grant: String,
    /// Known of files that this process wrote.
    access_key_id: Option<String>,
}

/// The role that a file belongs to, and its state.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The role that the file belongs to.
    pub role: &'a Role,
    /// The state of that role.
    pub state: &'a RoleState,
    /// The file holds credentials for a request that a reload has replaced.
    pub outdated: bool,
}

/// The next action on a credentials file.
#[derive(Debug)]
pub enum Action {
    /// Wait until this time, or until the role's state changes.
    Wait(Option<SystemTime>),
    /// Read the file's first line.
    Inspect,
    /// Write these credentials.
    Write(Arc<Credentials>),
    /// Remove the credentials file, if roletap wrote it.
    Remove,
}

/// Returns the next action at `now`, for the role that wants the file, or for none.
///
/// A file of an earlier process stays until its credentials expire, as long as none are in hand.
pub fn step(wanted: Option<Wanted<'_>>, known: &OnDisk, now: SystemTime) -> Action {
    let Some(Wanted { role, state, outdated }) = wanted else {
        return match known {
            OnDisk::Absent => Action::Wait(None),
            OnDisk::Unknown | OnDisk::Ours(_) => Action::Remove,
        };
    };
    if let Ok(credentials) = state.vend(now) {
        return match known {
            OnDisk::Ours(header) if header.holds(credentials) => Action::Wait(Some(header.until)),
            OnDisk::Unknown | OnDisk::Absent | OnDisk::Ours(_) => {
                Action::Write(credentials.clone())
            }
        };
    }
    match known {
        OnDisk::Unknown => Action::Inspect,
        OnDisk::Absent => Action::Wait(None),
        OnDisk::Ours(header) => {
            let theirs = outdated || !header.is_for(role) || is_dropped(role, state);
            if theirs || header.has_expired(now) {
                Action::Remove
            } else {
                Action::Wait(Some(header.until))
            }
        }
    }
}

/// Renders the whole file. **Secret**: it goes to the path that its role names and nowhere else.
pub fn text(file: &CredentialsFile, role: &Role, credentials: &Credentials) -> Zeroizing<String> {
    let head = format!(
        "{MARK}{}{UNTIL}{}{GRANT}{}\n",
        role.name,
        rfc3339(credentials.expires_at()),
        grant(&role.request)
    );
    credentials.shared_credentials(&head, &file.profile)
}

impl FileHeader {
    /// Parses the first line; `None` if roletap did not write it. A line that is cut off counts as expired.
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(MARK)?.trim_end();
        let fields = || {
            let (role, rest) = rest.split_once(UNTIL)?;
            let (until, grant) = rest.split_once(GRANT)?;
            let until: jiff::Timestamp = until.parse().ok()?;
            Some((role.to_owned(), SystemTime::from(until), grant.to_owned()))
        };
        let (role, until, grant) =
            fields().unwrap_or_else(|| (String::new(), UNIX_EPOCH, String::new()));
        Some(Self { role, until, grant, access_key_id: None })
    }

    /// Tells whether the credentials in the file have expired at `now`.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        now >= self.until
    }

    /// Describes the file that holds these credentials of `role`.
    pub fn of(role: &Role, credentials: &Credentials) -> Self {
        Self {
            role: role.name.to_string(),
            until: credentials.expires_at(),
            grant: grant(&role.request),
            access_key_id: Some(credentials.access_key_id().to_owned()),
        }
    }

    fn holds(&self, credentials: &Credentials) -> bool {
        self.access_key_id.as_deref() == Some(credentials.access_key_id())
            && self.until == credentials.expires_at()
    }

    fn is_for(&self, role: &Role) -> bool {
        self.role == role.name.as_str() && self.grant == grant(&role.request)
    }
}

/// `on_denied = "drop"`: a revoked trust bites at once, and after a restart as well.
fn is_dropped(role: &Role, state: &RoleState) -> bool {
    let failures = state.failures();
    role.terms.on_denied == OnDenied::Drop
        && failures.is_some_and(|failures| failures.error.class == Class::Denied)
}

/// Tells whether two requests yield credentials that may do the same.
fn grant(request: &AssumeRole) -> String {
    let mut digest = RequestIdentity::new(&stripped(request)).to_hex();
    digest.truncate(16);
    digest
}

/// The same without what decides only whether there are any credentials, an external id and a source: nobody who reads the
/// file is to guess at them. Of a role that signs stays what it hands on: tags and a source identity.
fn stripped(request: &AssumeRole) -> AssumeRole {
    let base = match &request.base {
        Base::Role(parent) => {
            Base::Role(Arc::new(Role { request: stripped(&parent.request), ..Role::clone(parent) }))
        }
        Base::Source(_) | Base::Token(_) => Base::Source(Arc::new(Source::default_chain())),
    };
    AssumeRole { external_id: None, base, ..request.clone() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credentials::Secret;
    use crate::fixtures::{at, config, credentials, error, grant as granted};
    use crate::lifecycle::{Jitter, RoleState};

    fn role(more: &str) -> Arc<Role> {
        let text = format!("credentials_file = \"/run/a\"\n{more}");
        let config = config(&["a"], 3600, &text);
        config.roles.into_values().next().unwrap()
    }

    fn issued(role: &Role, serial: u64) -> RoleState {
        let held = credentials(role, at(0), Duration::from_secs(3600), serial);
        RoleState::Pending.after(Ok(held), role.terms, at(0), Jitter::new(0.5))
    }

    fn failed(state: RoleState, role: &Role, class: Class) -> RoleState {
        state.after(Err(error(class)), role.terms, at(60), Jitter::new(0.5))
    }

    fn lies(role: &Role, serial: u64) -> OnDisk {
        let held = credentials(role, at(0), Duration::from_secs(3600), serial);
        OnDisk::Ours(FileHeader::of(role, &held))
    }

    /// What a later process finds.
    fn found(role: &Role) -> OnDisk {
        let held = credentials(role, at(0), Duration::from_secs(3600), 1);
        let file = role.credentials_file.as_ref().unwrap();
        let text = text(file, role, &held);
        OnDisk::Ours(FileHeader::parse(text.lines().next().unwrap()).unwrap())
    }

    fn at_second(second: u64, role: &Role, state: &RoleState, known: &OnDisk) -> String {
        let wanted = Wanted { role, state, outdated: false };
        match step(Some(wanted), known, at(second)) {
            Action::Wait(None) => "rest".to_owned(),
            Action::Wait(Some(until)) => {
                let until = until.duration_since(at(0)).unwrap();
                format!("rest until {}", until.as_secs())
            }
            Action::Inspect => "look".to_owned(),
            Action::Write(credentials) => format!("write {}", credentials.access_key_id()),
            Action::Remove => "remove".to_owned(),
        }
    }

    #[test]
    fn the_file_is_what_every_parser_reads() {
        let role = role("credentials_file_profile = \"sinks\"");
        let held = credentials(&role, at(0), Duration::from_secs(3600), 7);
        let file = role.credentials_file.as_ref().unwrap();
        let token = "FwoGZXIvYXdzEJr//".repeat(50);
        let expected = format!(
            "# written by roletap, which replaces it: role a, until {}, grant {}\n[sinks]\n\
             aws_access_key_id = ASIA0000000000000007\n\
             aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\naws_session_token = {token}\n",
            rfc3339(at(3600)),
            grant(&role.request)
        );
        assert_eq!(text(file, &role, &held).as_str(), expected);
    }

    #[test]
    fn what_comes_is_written_once_and_removed_at_its_end() {
        let role = role("");
        let state = issued(&role, 1);
        for known in [OnDisk::Unknown, OnDisk::Absent, lies(&role, 2), found(&role)] {
            assert_eq!(at_second(60, &role, &state, &known), "write ASIA0000000000000001");
        }
        let written = lies(&role, 1);
        assert_eq!(at_second(60, &role, &state, &written), "rest until 3600");
        assert_eq!(at_second(3599, &role, &state, &written), "rest until 3600");
        assert_eq!(at_second(3600, &role, &state, &written), "remove");
        assert_eq!(at_second(3600, &role, &state, &OnDisk::Absent), "rest");
        // A failure takes nothing away.
        let state = failed(state, &role, Class::Denied);
        assert_eq!(at_second(60, &role, &state, &written), "rest until 3600");
    }

    #[test]
    fn what_an_earlier_process_left_stays_to_its_end() {
        let role = role("");
        let pending = RoleState::Pending;
        assert_eq!(at_second(60, &role, &pending, &OnDisk::Unknown), "look");
        for state in [
            pending.clone(),
            failed(pending.clone(), &role, Class::Network),
            failed(pending.clone(), &role, Class::Denied),
        ] {
            assert_eq!(at_second(60, &role, &state, &found(&role)), "rest until 3600");
            assert_eq!(at_second(3600, &role, &state, &found(&role)), "remove");
        }
        let torn = FileHeader::parse(&format!("{MARK}a{UNTIL}20")).unwrap();
        assert_eq!(at_second(60, &role, &pending, &OnDisk::Ours(torn)), "remove");
        assert_eq!(FileHeader::parse("[default]"), None);
        assert_eq!(FileHeader::parse(""), None);
    }

    #[test]
    fn a_revoked_trust_bites_at_once_where_that_is_wanted() {
        let role = role("on_denied = \"drop\"");
        let state = failed(issued(&role, 1), &role, Class::Denied);
        assert_eq!(at_second(60, &role, &state, &lies(&role, 1)), "remove");
        let state = failed(RoleState::Pending, &role, Class::Denied);
        assert_eq!(at_second(60, &role, &state, &found(&role)), "remove");
        let state = failed(RoleState::Pending, &role, Class::Network);
        assert_eq!(at_second(60, &role, &state, &found(&role)), "rest until 3600");
    }

    #[test]
    fn what_may_do_something_else_does_not_stay() {
        let before = role("");
        let pending = RoleState::Pending;
        for (more, goes) in [
            ("role_session_name = \"other\"", true),
            ("policy = '{\"Statement\":[{}]}'", true),
            ("tags = { Team = \"x\" }", true),
            ("external_id = \"other\"", false),
            ("account_id = true", false),
        ] {
            let after = role(more);
            let step = at_second(60, &after, &pending, &found(&before));
            let expected = if goes { "remove" } else { "rest until 3600" };
            assert_eq!(step, expected, "{more}");
        }
        // What a parent hands on.
        let chained = |parent: &str| {
            role(&format!(
                "source = \"role.p\"\n[role.p]\nrole_arn = \"arn:aws:iam::111122223333:role/p\"\n{parent}"
            ))
        };
        let before = chained("");
        for (parent, goes) in [
            ("tags = { Team = \"x\" }\ntransitive_tag_keys = [\"Team\"]", true),
            ("external_id = \"other\"", false),
        ] {
            let step = at_second(60, &chained(parent), &pending, &found(&before));
            let expected = if goes { "remove" } else { "rest until 3600" };
            assert_eq!(step, expected, "{parent}");
        }
        // In one process it is known which request a file was written for.
        let outdated = Wanted { role: &before, state: &pending, outdated: true };
        let step = step(Some(outdated), &lies(&before, 1), at(60));
        assert!(matches!(step, Action::Remove));
    }

    #[test]
    fn a_file_that_nobody_wants_goes() {
        let role = role("");
        for (known, goes) in
            [(OnDisk::Unknown, true), (lies(&role, 1), true), (OnDisk::Absent, false)]
        {
            let step = step(None, &known, at(60));
            assert_eq!(matches!(step, Action::Remove), goes, "{known:?}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let role = role("external_id = \"ws-sentinel\"");
        let held = Credentials::new(&granted(7, Some(at(3600))), &role, at(0)).unwrap();
        let header = FileHeader::of(&role, &held);
        let state = issued(&role, 1);
        let wanted = Wanted { role: &role, state: &state, outdated: false };
        let step = step(Some(wanted), &OnDisk::Absent, at(60));
        let printed = format!("{header:?} {step:?} {wanted:?}");
        let secret = Secret::new("wJalr".to_owned());
        assert!(!printed.contains(secret.expose()), "{printed}");
        assert!(!printed.contains("FwoG"), "{printed}");
    }
}
