//! The files of sources: changes of any file, and the content of files with one value each.
//!
//! A file may be on a mount that hangs, so all of this runs on threads that may block.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use zeroize::Zeroizing;

use super::error::SourceError;
use crate::sts::Token;
use roletap_core::role::Origin;

/// The longest time that reading the files of one source takes.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest file with a key or token. A real one is far shorter.
const MAX_BYTES: u64 = 64 * 1024;
/// The longest shared configuration or credentials file. A real one is far shorter.
const MAX_SHARED_BYTES: u64 = 4 * 1024 * 1024;

/// One lock per set of files, so that files that hang block one thread only.
static TURNS: Mutex<BTreeMap<Vec<PathBuf>, LoadTurn>> = Mutex::new(BTreeMap::new());

/// The lock of one set of files, held by the thread that reads them.
type LoadTurn = Arc<tokio::sync::Mutex<()>>;

/// The stamps of some files, with `None` for a missing file. They differ after a change.
pub(super) type Stamps = Vec<Option<Stamp>>;

/// The device, inode, size and time of change (seconds, nanoseconds) of one file.
pub(super) type Stamp = (u64, u64, u64, i64, i64);

/// Takes the stamps of every file that a source of this origin reads.
pub(super) async fn look(origin: &Origin) -> Result<Stamps, SourceError> {
    let paths = paths(origin);
    if paths.is_empty() {
        return Ok(Stamps::new());
    }
    aside(paths.clone(), move || paths.iter().map(|path| stamp(path)).collect()).await
}

/// Reads static keys from files with one value each.
pub(super) async fn keys(
    access_key_id: &Path,
    secret_access_key: &Path,
    session_token: Option<&Path>,
) -> Result<Credentials, SourceError> {
    let id = value(access_key_id).await?;
    let secret = value(secret_access_key).await?;
    let token = match session_token {
        Some(path) => Some(value(path).await?.to_string()),
        None => None,
    };
    Ok(Credentials::new(id.as_str(), secret.as_str(), token, None, "files"))
}

/// Reads a web identity token from its file, without white space at its ends.
pub async fn read_token(path: &Path) -> Result<Token, SourceError> {
    let text = value(path).await?;
    Token::new(text, path.to_owned(), changed_at(path).await).map_err(SourceError::new)
}

/// Reads the one word in a file, without white space at its ends.
async fn value(path: &Path) -> Result<Zeroizing<String>, SourceError> {
    let path = path.to_owned();
    aside(vec![path.clone()], move || {
        let refuse = |what: &str| SourceError::new(format!("{} {what}", path.display()));
        if !std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.is_file() {
            return Err(refuse("is not a regular file"));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        let file = std::fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
        io::Read::read_to_end(&mut io::Read::take(file, MAX_BYTES + 1), &mut bytes)
            .map_err(|error| unreadable(&path, &error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(refuse("is larger than 64 KiB"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| refuse("is not text"))?;
        match text.trim() {
            "" => Err(refuse("is empty")),
            word if word.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err(refuse("contains more than one word"))
            }
            word => Ok(Zeroizing::new(word.to_owned())),
        }
    })
    .await
}

/// Reads the shared files once and drops the content, because the SDK would block its whole thread
/// on a file that hangs. The SDK itself deals with a missing file.
pub(super) async fn can_be_read(
    config: Option<&PathBuf>,
    credentials: Option<&PathBuf>,
) -> Result<(), SourceError> {
    let paths = shared_files(config, credentials);
    let mut key = paths.clone();
    // Another lock than that of `look`.
    key.push(PathBuf::new());
    aside(key, move || {
        for path in &paths {
            let Ok(file) = std::fs::File::open(path) else {
                continue;
            };
            let mut file = io::Read::take(file, MAX_SHARED_BYTES + 1);
            if io::copy(&mut file, &mut io::sink()).is_ok_and(|read| read > MAX_SHARED_BYTES) {
                let path = path.display();
                return Err(SourceError::new(format!("{path} is larger than 4 MiB")));
            }
        }
        Ok(())
    })
    .await
}

/// Returns the time of the last change of a file, for messages.
async fn changed_at(path: &Path) -> Option<std::time::SystemTime> {
    let path = path.to_owned();
    let key = path.clone();
    let changed = move || {
        let metadata = std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        metadata.modified().map_err(|error| unreadable(&path, &error))
    };
    aside(vec![key], changed).await.ok()
}

fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    let is = |kind| error.kind() == kind;
    let why = if is(io::ErrorKind::NotFound) {
        "does not exist".to_owned()
    } else if is(io::ErrorKind::PermissionDenied) {
        "is not readable by the user of this process".to_owned()
    } else {
        format!("cannot be read: {error}")
    };
    SourceError::new(format!("{} {why}", path.display()))
}

fn stamp(path: &Path) -> Result<Option<Stamp>, SourceError> {
    match std::fs::metadata(path) {
        // Reading a pipe without a writer would block forever.
        Ok(found) if found.file_type().is_fifo() => {
            Err(SourceError::new(format!("{} is a pipe, not a regular file", path.display())))
        }
        Ok(found) => {
            Ok(Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec())))
        }
        // Many of these files are optional: the load decides.
        Err(_) => Ok(None),
    }
}

fn paths(origin: &Origin) -> Vec<PathBuf> {
    match origin {
        Origin::Environment | Origin::InstanceMetadata { .. } | Origin::Process(_) => Vec::new(),
        Origin::Chain => {
            let token = std::env::var_os("AWS_WEB_IDENTITY_TOKEN_FILE").map(PathBuf::from);
            let mut paths = shared_files(None, None);
            paths.extend(token);
            paths
        }
        Origin::Profile { config_file, shared_credentials_file, .. } => {
            shared_files(config_file.as_ref(), shared_credentials_file.as_ref())
        }
        Origin::WebIdentity(identity) => vec![identity.token_file.clone()],
        Origin::KeyFiles { access_key_id, secret_access_key, session_token } => {
            [access_key_id, secret_access_key].into_iter().chain(session_token).cloned().collect()
        }
    }
}

/// Returns the paths at which the SDK reads the shared files.
fn shared_files(config: Option<&PathBuf>, credentials: Option<&PathBuf>) -> Vec<PathBuf> {
    let place = |given: Option<&PathBuf>, variable: &str, name: &str| {
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".aws").join(name));
        let named = || std::env::var_os(variable).map(PathBuf::from);
        given.cloned().or_else(named).or_else(home)
    };
    [
        place(config, "AWS_CONFIG_FILE", "config"),
        place(credentials, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs `look` on a thread that may block. There is one such thread per set of files.
async fn aside<T: Send + 'static>(
    paths: Vec<PathBuf>,
    look: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let slow =
        || SourceError::new("the files of the source cannot be read: does their file system hang?");
    let turn = turn(paths);
    let looked = async {
        let turn = turn.lock_owned().await;
        tokio::task::spawn_blocking(move || {
            let found = look();
            drop(turn);
            found
        })
        .await
    };
    match tokio::time::timeout(LOOK_TIMEOUT, looked).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Err(slow()),
    }
}

fn turn(paths: Vec<PathBuf>) -> LoadTurn {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    turns.entry(paths).or_default().clone()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn files_that_hang_block_one_thread_only() {
        let paths = || vec![PathBuf::from("/hung/by/this/test")];
        let started = Arc::new(AtomicUsize::new(0));
        let (release, released) = mpsc::channel::<()>();
        let count = started.clone();
        let first = tokio::spawn(aside(paths(), move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = released.recv();
            Ok(())
        }));
        let again = || {
            let count = started.clone();
            aside(paths(), move || {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        };
        while started.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // The paused clock does not advance while a thread is busy, so the test advances it.
        let others: Vec<_> = (0..20).map(|_| tokio::spawn(again())).collect();
        tokio::task::yield_now().await;
        tokio::time::advance(LOOK_TIMEOUT * 2).await;
        assert!(first.await.unwrap().is_err());
        for other in others {
            assert!(other.await.unwrap().is_err());
        }
        assert_eq!(started.load(Ordering::SeqCst), 1);
        release.send(()).unwrap();
        assert!(again().await.is_ok());
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_token_is_read_without_white_space_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "  sentinel-token\r\n\n").unwrap();
        let read = read_token(&path).await.unwrap();
        assert_eq!(read.redact("a sentinel-token b"), "a … b");
        assert!(!format!("{read:?}").contains("sentinel"));
        for (text, why) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("a b", "more than one word"),
            ("abc", "3 characters"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read_token(&path).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
