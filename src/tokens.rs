//! The tokens that open roles: made, written for their workloads, looked up, replaced.
//!
//! A token is 32 random bytes, base64url. Only its SHA-256 is kept, and looking it up by digest takes the same time
//! whatever was guessed. The file is the truth: what lies in it is valid after the next start or reload, so tokens are
//! stable over restarts. When a reload finds another token in the file, or none, the old one stays valid for
//! [`OVERLAP`]: some clients read the file once in their life (ClickHouse), and an environment variable never changes.

mod imds_key;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::unistd::{Gid, fchown};
use zeroize::Zeroizing;

pub use self::imds_key::imds_key;
use crate::atomic_file::{self, whoami, write};
use roletap_core::config::Config;
use roletap_core::role::{Role, RoleName, TokenSource};
pub use roletap_core::token_digest::{Digest, RoleTokens, Tokens};

/// How long a replaced token still opens its role.
pub const OVERLAP: Duration = Duration::from_secs(12 * 3600);

/// A token of fewer characters can be guessed.
const SHORTEST: usize = 32;
/// Longer than any token, shorter than a file that was named by mistake.
const LONGEST: u64 = 4096;

/// Why a role's token could not be made ready.
#[derive(Debug, thiserror::Error)]
#[error("role `{role}`: {what}")]
pub struct TokenProblem {
    /// The name of the role.
    pub role: String,
    /// The action, the finding and the next step.
    pub what: String,
    /// A permission was missing.
    pub not_permitted: bool,
}

/// Makes every role's token ready: reads what lies there, writes what is missing, remembers what was replaced since
/// `before`. All problems are reported at once.
pub fn prepare(
    config: &Config,
    before: &Tokens,
    now: SystemTime,
) -> Result<Tokens, Vec<TokenProblem>> {
    let dir = &config.server.token_dir;
    let problem = |role: &Role, (what, not_permitted): Refused| TokenProblem {
        role: role.name.to_string(),
        what,
        not_permitted,
    };
    // Looked at first, written second: a reload that is refused must not leave a new token in a file.
    let mut groups = Groups::default();
    let mut found = Vec::with_capacity(config.roles.len());
    let mut problems = Vec::new();
    for role in config.roles.values() {
        match examined(dir, role, &mut groups) {
            Ok(what) => found.push((role, what)),
            Err(refused) => problems.push(problem(role, refused)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut roles = BTreeMap::new();
    for (role, found) in found {
        let current = match found {
            InspectedToken::NoneNeeded => continue,
            InspectedToken::Brought(current) => Ok(current),
            InspectedToken::Ours(found, group) => ours(dir, role, found, group),
        };
        match current {
            Ok(current) => {
                let replaced = before.roles.get(&role.name);
                let tokens = with_overlap(dir, role, current, replaced, now);
                roles.insert(role.name.clone(), tokens);
            }
            Err(refused) => problems.push(problem(role, refused)),
        }
    }
    problems.extend(shared(&roles));
    if problems.is_empty() { Ok(Tokens { roles }) } else { Err(problems) }
}

/// A sentence, and whether a permission was missing.
type Refused = (String, bool);

/// The result of inspecting a role's token, before anything is written.
enum InspectedToken<'a> {
    NoneNeeded,
    Brought(Digest),
    /// Generated: the file that is there, and the group that it shall have.
    Ours(Option<TokenFile>, Option<(&'a str, Gid)>),
}

/// A token file that roletap wrote, as it was found.
struct TokenFile {
    /// `None` where no whole token is in it.
    token: Option<Zeroizing<String>>,
    mode: u32,
    gid: u32,
}

/// The groups looked up so far: a thousand roles share a few.
type Groups<'a> = HashMap<&'a str, Result<Gid, Refused>>;

/// Finds problems that can be seen without writing anything.
fn examined<'a>(
    dir: &Path,
    role: &'a Role,
    groups: &mut Groups<'a>,
) -> Result<InspectedToken<'a>, Refused> {
    match &role.token {
        TokenSource::None => Ok(InspectedToken::NoneNeeded),
        TokenSource::File(path) => brought(path).map(InspectedToken::Brought),
        TokenSource::Generated { group } => {
            let gid = match group.as_deref() {
                None => None,
                Some(name) => {
                    let looked_up = groups.entry(name).or_insert_with(|| group_id(name));
                    Some((name, looked_up.clone()?))
                }
            };
            let path = dir.join(role.name.as_str());
            match token_file_at(&path) {
                Ok(there) => Ok(InspectedToken::Ours(there, gid)),
                Err(error) => {
                    Err(refused(&error, &format!("cannot use the token file {}", path.display())))
                }
            }
        }
    }
}

fn brought(path: &Path) -> Result<Digest, Refused> {
    let token = read(path)
        .map_err(|error| refused(&error, &format!("cannot read token_file {}", path.display())))?;
    match token {
        Some(token) => Ok(Digest::of(token.as_bytes())),
        None => Err((
            format!(
                "token_file {} holds no token: expected at least {SHORTEST} printable characters without blanks, such as \
                 `openssl rand -hex 32` makes",
                path.display()
            ),
            false,
        )),
    }
}

/// Returns the generated token: the one in the file, with mode and group corrected, or a new one.
fn ours(
    dir: &Path,
    role: &Role,
    found: Option<TokenFile>,
    group: Option<(&str, Gid)>,
) -> Result<Digest, Refused> {
    let path = dir.join(role.name.as_str());
    let doing = |what: &str| format!("cannot {what} the token file {}", path.display());
    let refused = |error: &io::Error, what: &str| {
        let hint =
            group.and_then(|(name, _)| atomic_file::not_in_group(error, "token_group", name));
        match hint {
            Some(hint) => (format!("{}: {error}; {hint}", doing(what)), true),
            None => refused(error, &doing(what)),
        }
    };
    let gid = group.map(|(_, gid)| gid);
    if let Some(found) = found {
        if let Some(token) = &found.token {
            put_right(&path, &found, 0o640, gid).map_err(|error| refused(&error, "use"))?;
            return Ok(Digest::of(token.as_bytes()));
        }
        tracing::warn!(path = %path.display(), "the token file holds no whole token; writing a new one");
    }
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| (format!("no random numbers from the system: {error}"), false))?;
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    if let Err(error) = create(dir) {
        return Err(self::refused(&error, &format!("cannot create token_dir {}", dir.display())));
    }
    write(&path, token.as_bytes(), 0o640, gid).map_err(|error| refused(&error, "write"))?;
    Ok(Digest::of(token.as_bytes()))
}

/// A look at it costs nothing where nothing has to change: a thousand files are looked at before the first answer. By now
/// another file may lie there, or a link.
fn put_right(path: &Path, found: &TokenFile, mode: u32, gid: Option<Gid>) -> io::Result<()> {
    let gid = gid.filter(|gid| gid.as_raw() != found.gid);
    if found.mode & 0o7777 == mode && gid.is_none() {
        return Ok(());
    }
    let (file, _) = atomic_file::open_regular_owned(path)?.ok_or(io::ErrorKind::NotFound)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    if let Some(gid) = gid {
        fchown(&file, None, Some(gid))?;
    }
    Ok(())
}

/// Makes the token directory, where it is missing: whoever knows a name in it may pass, whatever the umask is, and only this user
/// may list it. Who may read a file is the file's own business.
fn create(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o711)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn group_id(name: &str) -> Result<Gid, Refused> {
    atomic_file::group_id("token_group", name).map_err(|what| (what, false))
}

/// The file at `path`, if there is one.
fn token_file_at(path: &Path) -> io::Result<Option<TokenFile>> {
    let Some((file, metadata)) = atomic_file::open_regular_owned(path)? else {
        return Ok(None);
    };
    Ok(Some(TokenFile { token: token_in(file)?, mode: metadata.mode(), gid: metadata.gid() }))
}

/// Reads a token from a file that roletap does not write, if a whole one is in it.
fn read(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    // Opening a pipe waits for a writer, and a reload must not wait.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    token_in(File::open(path)?)
}

/// The trimmed content, if it can be a token: it has to fit into a header.
fn token_in(file: File) -> io::Result<Option<Zeroizing<String>>> {
    // Never moved while it is filled: what a vector leaves behind when it grows is not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 2));
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Ok(None);
    };
    let token = text.trim();
    let whole = (SHORTEST..LONGEST as usize).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_graphic());
    Ok(whole.then(|| Zeroizing::new(token.to_owned())))
}

/// Adds what is still honoured: what was replaced just now, and what an earlier process wrote down.
fn with_overlap(
    dir: &Path,
    role: &Role,
    current: Digest,
    replaced: Option<&RoleTokens>,
    now: SystemTime,
) -> RoleTokens {
    let note = dir.join(format!(".{}.previous", role.name));
    let mut previous = match replaced {
        None => noted(&note),
        Some(before) if before.current == current => before.previous.clone(),
        Some(before) => {
            let mut previous = before.previous.clone();
            previous.push((before.current, now + OVERLAP));
            tracing::info!(
                role = role.name.as_str(),
                honoured_for_seconds = OVERLAP.as_secs(),
                "the token was replaced; the old one is honoured for a while"
            );
            // Best effort: without the note the overlap ends with this process.
            if let Err(error) = write(&note, render(&previous).as_bytes(), 0o600, None) {
                tracing::warn!(role = role.name.as_str(), %error, "the overlap of the old token will not survive a restart");
            }
            previous
        }
    };
    previous.retain(|(digest, until)| *until > now && *digest != current);
    RoleTokens { current, previous }
}

/// Lines of `<hex of SHA-256> <seconds since 1970>`; a digest is not a secret, and a torn line is no line.
fn noted(note: &Path) -> Vec<(Digest, SystemTime)> {
    let parse = |line: &str| {
        let (digest, until) = line.split_once(' ')?;
        let until = UNIX_EPOCH.checked_add(Duration::from_secs(until.trim().parse().ok()?))?;
        Some((Digest::from_hex(digest)?, until))
    };
    fs::read_to_string(note)
        .map(|text| text.lines().filter_map(parse).collect())
        .unwrap_or_default()
}

fn render(previous: &[(Digest, SystemTime)]) -> String {
    let line = |(digest, until): &(Digest, SystemTime)| {
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("{} {until}\n", digest.to_hex())
    };
    previous.iter().map(line).collect()
}

/// One token opens one role.
fn shared(roles: &BTreeMap<RoleName, RoleTokens>) -> Vec<TokenProblem> {
    let mut seen: BTreeMap<Digest, &RoleName> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, tokens) in roles {
        if let Some(first) = seen.insert(tokens.current, name) {
            let what = format!(
                "its token is also that of role `{first}`: give each role a token of its own"
            );
            problems.push(TokenProblem { role: name.to_string(), what, not_permitted: false });
        }
    }
    problems
}

fn refused(error: &io::Error, doing: &str) -> Refused {
    let not_permitted = error.kind() == io::ErrorKind::PermissionDenied;
    let hint = if not_permitted {
        format!(
            "; it must be readable and writable for {} (under systemd, `RuntimeDirectory=roletap` makes /run/roletap)",
            whoami()
        )
    } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        "; the file system is read-only: set `server.token_dir` elsewhere".to_owned()
    } else {
        String::new()
    };
    (format!("{doing}: {error}{hint}"), not_permitted)
}

/// Returns the path of a role's token file; `None` with `unsafe_no_token`.
pub fn path_of(config: &Config, role: &Role) -> Option<PathBuf> {
    match &role.token {
        TokenSource::None => None,
        TokenSource::File(path) => Some(path.clone()),
        TokenSource::Generated { .. } => Some(config.server.token_dir.join(role.name.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_the_place_of_a_token_after_the_look_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let (path, theirs) = (home.path().join("orders"), home.path().join("theirs"));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        for file in [&path, &theirs] {
            fs::write(file, "a token that is long enough to be one").unwrap();
            fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        }
        let found = token_file_at(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&theirs, &path).unwrap();
        assert!(put_right(&path, &found, 0o640, None).is_err());
        assert_eq!(mode(&theirs), 0o600);
        fs::rename(&theirs, &path).unwrap();
        put_right(&path, &found, 0o640, None).unwrap();
        assert_eq!(mode(&path), 0o640);
    }
}
