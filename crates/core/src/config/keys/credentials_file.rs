//! `credentials_file`: a role's credentials in a file, for clients that can only read one.

use super::text::group_name;
use crate::config::diagnostics::Problem;
use crate::config::toml::Section;
use crate::role::{CallerPolicy, CredentialsFile, CredentialsFileGroup, ProfileName, TokenSource};

pub(crate) const KEY: &str = "credentials_file";
const GROUP: &str = "credentials_file_group";
const PROFILE: &str = "credentials_file_profile";

/// `None` where the role has none.
pub(crate) fn read(
    section: &Section<'_>,
    token: &TokenSource,
    callers: &CallerPolicy,
) -> Option<CredentialsFile> {
    let group = section.text(GROUP, group_name);
    let profile = section.text(PROFILE, ProfileName::parse);
    section.knows(&[KEY]);
    // A value in [defaults] is told once: see `refuse_in_defaults`.
    if section.key_place(KEY).is_none() {
        for key in [GROUP, PROFILE] {
            let message = format!("`{key}` is set, but there is no `{KEY}`");
            let help = format!("add {KEY} = \"/run/roletap/files/NAME\", or remove it");
            section.refuse_key(key, message, help);
        }
        return None;
    }
    let path = section.text_at(KEY, CredentialsFile::path)?;
    for demand in callers.keys() {
        let message = format!("`{KEY}` and `{demand}` exclude each other");
        let problem = Problem::new(path.at, message).beside(section.place(demand));
        section.diagnostics.emit(problem.help(format!(
            "a file does not know who reads it: keep one of them; {demand} = [\"*\"] takes back what [defaults] demand"
        )));
    }
    let group_of = |name, key| CredentialsFileGroup { name, key };
    Some(CredentialsFile {
        path: path.value,
        profile: profile.unwrap_or_else(ProfileName::usual),
        group: match (group, token) {
            (Some(group), _) => Some(group_of(group, GROUP)),
            (None, TokenSource::Generated { group }) => {
                group.clone().map(|name| group_of(name, "token_group"))
            }
            (None, TokenSource::File(_) | TokenSource::None) => None,
        },
    })
}

/// One path for all roles is no role's.
pub(crate) fn refuse_in_defaults(defaults: &Section<'_>) {
    defaults.refuse_key(
        KEY,
        format!("`{KEY}` in [defaults] would give every role the same file"),
        "give each [role.NAME] that needs one its own; group and profile may stay here",
    );
}
