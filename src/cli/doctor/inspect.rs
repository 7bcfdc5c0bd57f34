//! Looks at this host: files and who may read them, processes, units, instance metadata.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User};
use zeroize::Zeroizing;

use crate::cli::Failure;
use roletap_core::doctor::environment::{Unit, of_file, of_process};
use roletap_core::doctor::file::{FileStat, Reader};
use roletap_core::doctor::host::host_of;

/// EC2's instance metadata service, one hop away.
const METADATA: &str = "http://169.254.169.254";
const METADATA_TIMEOUT: Duration = Duration::from_millis(300);

/// A workload, as it was started or will be.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) variables: BTreeMap<String, Zeroizing<String>>,
    pub(super) reader: Option<Reader>,
}

/// Inspects a running process: its name, environment, user and groups.
pub(super) fn process(pid: u32) -> Result<Workload, Failure> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let environ = std::fs::read(directory.join("environ")).map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            return Failure::usage(format!("there is no process {pid}"));
        }
        let hint = if error.kind() == ErrorKind::PermissionDenied {
            "; only its own user and root may: run doctor with sudo"
        } else {
            ""
        };
        Failure::io(&error, format!("cannot read the environment of process {pid}{hint}"))
    })?;
    let environ = Zeroizing::new(environ);
    let status = std::fs::read_to_string(directory.join("status")).unwrap_or_default();
    let command = std::fs::read_to_string(directory.join("comm")).unwrap_or_default();
    let name = format!("process {pid} ({})", command.trim());
    let ids = |key: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let words = line.unwrap_or_default().split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    // Real, effective, saved, file system: files are opened as the last.
    let reader = ids("Uid:").last().map(|uid| Reader {
        name: name.clone(),
        uid: *uid,
        gids: ids("Gid:").into_iter().chain(ids("Groups:")).collect(),
    });
    Ok(Workload { name, variables: of_process(&environ), reader })
}

/// Returns the environment that a unit sets. A path is read with its drop-ins; a name is asked of systemd.
pub(super) fn unit(unit: &str) -> Result<Workload, Failure> {
    let text = if unit.contains('/') { unit_file(Path::new(unit))? } else { shown(unit)? };
    let parsed = Unit::parse(&text);
    let mut variables = parsed.variables;
    for (path, may_be_missing) in &parsed.files {
        match std::fs::read_to_string(path) {
            Ok(text) => variables.extend(of_file(&Zeroizing::new(text))),
            Err(_) if *may_be_missing => {}
            Err(error) => {
                return Err(Failure::io(
                    &error,
                    format!("cannot read {path}, an EnvironmentFile of {unit}"),
                ));
            }
        }
    }
    for word in &parsed.unset {
        let name = word.split('=').next().unwrap_or(word);
        variables.remove(name);
    }
    let reader = parsed.user.as_deref().map(user).transpose();
    Ok(Workload { name: unit.to_owned(), variables, reader: reader.ok().flatten() })
}

/// A file of variables.
pub(super) fn env_file(path: &Path) -> Result<Workload, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(&error, format!("cannot read {}", path.display())))?;
    Ok(Workload {
        name: path.display().to_string(),
        variables: of_file(&Zeroizing::new(text)),
        reader: None,
    })
}

fn unit_file(path: &Path) -> Result<String, Failure> {
    let cannot =
        |error: std::io::Error| Failure::io(&error, format!("cannot read {}", path.display()));
    let mut text = std::fs::read_to_string(path).map_err(cannot)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".d");
    let mut drop_ins: Vec<PathBuf> = std::fs::read_dir(PathBuf::from(beside))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    drop_ins.retain(|path| path.extension().is_some_and(|end| end == "conf"));
    drop_ins.sort();
    for path in drop_ins {
        text.push('\n');
        text.push_str(&std::fs::read_to_string(path).map_err(cannot)?);
    }
    Ok(text)
}

fn shown(unit: &str) -> Result<String, Failure> {
    let properties = "Environment,EnvironmentFiles,UnsetEnvironment,User,LoadState";
    let shown = Command::new("systemctl")
        .args(["show", "--no-pager", "--property", properties, "--", unit])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let instead = "give the path of the unit file instead";
    let shown =
        shown.map_err(|error| Failure::io(&error, format!("cannot run systemctl; {instead}")))?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    if !shown.status.success() || text.contains("LoadState=not-found") {
        return Err(Failure::usage(format!("systemd knows no unit {unit}; {instead}")));
    }
    Ok(text)
}

/// A user with the groups that it gets at login.
pub(super) fn user(name: &str) -> Result<Reader, String> {
    let user = User::from_name(name)
        .ok()
        .flatten()
        .ok_or_else(|| format!("there is no user `{name}` on this host"))?;
    let text = std::ffi::CString::new(name).unwrap_or_default();
    let groups = nix::unistd::getgrouplist(&text, user.gid).unwrap_or_else(|_| vec![user.gid]);
    Ok(Reader {
        name: format!("user {name}"),
        uid: user.uid.as_raw(),
        gids: groups.into_iter().map(Gid::as_raw).collect(),
    })
}

/// A file, and the directories above it from the root down.
pub(super) fn entries(path: &Path) -> Result<(FileStat, Vec<FileStat>), String> {
    let entry = |path: &Path| {
        std::fs::metadata(path)
            .map(|found| FileStat {
                path: path.to_owned(),
                uid: found.uid(),
                gid: found.gid(),
                mode: found.mode(),
            })
            .map_err(|error| format!("cannot look at {}: {error}", path.display()))
    };
    let mut above: Vec<FileStat> = path
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
        .map(entry)
        .collect::<Result<_, _>>()?;
    above.reverse();
    Ok((entry(path)?, above))
}

/// Owner and group by name, where they have one.
pub(super) fn names(entry: &FileStat) -> (String, String) {
    let user = User::from_uid(Uid::from_raw(entry.uid)).ok().flatten();
    let group = Group::from_gid(Gid::from_raw(entry.gid)).ok().flatten();
    (
        user.map_or_else(|| entry.uid.to_string(), |user| user.name),
        group.map_or_else(|| entry.gid.to_string(), |group| group.name),
    )
}

/// A path that may be opened: whoever opens a FIFO may wait for ever.
pub(super) fn regular(path: &Path) -> std::io::Result<&Path> {
    match std::fs::metadata(path)?.is_file() {
        true => Ok(path),
        false => Err(std::io::Error::other("it is no regular file")),
    }
}

/// Returns a token, if this user may read it.
pub(super) fn token_text(path: &Path) -> Option<Zeroizing<String>> {
    let path = regular(path).ok()?;
    std::fs::read_to_string(path).ok().map(Zeroizing::new)
}

/// Tells whether something accepts connections at the address of instance metadata.
pub(super) fn metadata_answers(endpoint: Option<&str>) -> bool {
    let url = endpoint.filter(|url| !url.is_empty()).unwrap_or(METADATA);
    let host = host_of(url);
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or(authority);
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    let addresses = (host, port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, METADATA_TIMEOUT).is_ok())
    })
}
