//! `credentials_file`: what lies in it through refreshes, ends, reloads and restarts, and what Amazon's own client reads.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use nix::unistd::{Group, Uid};
use serde_json::{Value, json};

use crate::support::client::{credentials_found_by, say, variables};
use crate::support::harness::{Daemon, Setup, arn, finish, text, wait_for, with};
use fake_sts::{FakeSts, Fault};

const METRIC: &str = "roletap_credentials_file_writes_total";
const ONE_ERROR: &str = "the credentials file is not as it should be";

/// What a client reads.
#[derive(Debug, Clone, PartialEq)]
struct Read {
    comment: String,
    profile: String,
    key: String,
    secret: String,
    token: String,
}

/// Whole, or a panic.
fn parsed(text: &str) -> Read {
    let lines: Vec<&str> = text.lines().collect();
    let [comment, header, key, secret, token] = lines.as_slice() else {
        panic!("not whole: {text:?}")
    };
    assert!(text.ends_with('\n'), "not whole: {text:?}");
    let value = |line: &str, name: &str| {
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(" = "));
        value.unwrap_or_else(|| panic!("no {name}: {text:?}")).to_owned()
    };
    let header = header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Read {
        comment: comment.strip_prefix("# ").expect("a comment").to_owned(),
        profile: header.expect("a header").to_owned(),
        key: value(key, "aws_access_key_id"),
        secret: value(secret, "aws_secret_access_key"),
        token: value(token, "aws_session_token"),
    }
}

/// What lies there; `None` if nothing does.
fn lies(path: &Path) -> Option<Read> {
    match fs::read_to_string(path) {
        Ok(text) => Some(parsed(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

/// What lies there once something does.
fn written(path: &Path) -> Read {
    wait_for("the file is written", || lies(path).ok_or_else(|| "nothing".to_owned()))
}

fn removed(path: &Path) {
    wait_for("the file is removed", || match lies(path) {
        None => Ok(()),
        Some(read) => Err(read.comment),
    });
}

/// Waits until these credentials lie there.
fn holds(path: &Path, key: &str) {
    wait_for("the file follows", || {
        let found = lies(path).map(|read| read.key);
        (found.as_deref() == Some(key)).then_some(()).ok_or_else(|| format!("{found:?}, not {key}"))
    });
}

/// A directory for files, and the key that names one in it.
fn files(setup: &Setup) -> PathBuf {
    let files = setup.home().join("files");
    fs::create_dir(&files).expect("a directory");
    files
}

fn named(path: &Path) -> String {
    format!("credentials_file = \"{}\"", path.display())
}

/// Starts with one role, `orders`, and its file.
fn filed(setup: Setup, more: &str) -> (Daemon, PathBuf) {
    let path = files(&setup).join("orders");
    let daemon = setup.role_with("orders", &format!("{}\n{more}", named(&path))).start();
    (daemon, path)
}

fn count(daemon: &Daemon, outcome: &str) -> Option<f64> {
    daemon.metric(METRIC, &[("role", "orders"), ("outcome", outcome)])
}

/// Everything in a directory, by name.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

// === what lies there ===

#[test]
fn what_is_vended_lies_in_the_file_for_its_group() {
    let sts = FakeSts::start();
    let group = Group::from_gid(nix::unistd::getegid()).expect("groups").expect("our own");
    // As root any group will do, and another one proves more.
    let group = match Group::from_name("daemon") {
        Ok(Some(other)) if Uid::effective().is_root() => other,
        _ => group,
    };
    let more = format!(
        "credentials_file_group = \"{}\"\ncredentials_file_profile = \"sinks\"",
        group.name
    );
    let setup = with(&sts).role("none").server("pending_wait = \"1s\"");
    let (daemon, path) = filed(setup, &more);
    let read = written(&path);
    let vended = daemon.vended("orders");
    assert_eq!(read.profile, "sinks");
    assert_eq!(
        [&read.key, &read.secret, &read.token].map(|part| json!(part)),
        [vended["AccessKeyId"].clone(), vended["SecretAccessKey"].clone(), vended["Token"].clone(),]
    );
    let until = text(&vended["Expiration"]);
    assert!(read.comment.contains(&format!("role orders, until {until}, ")), "{}", read.comment);
    let metadata = fs::symlink_metadata(&path).expect("a file");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    assert_eq!(metadata.gid(), group.gid.as_raw());
    assert_eq!(metadata.uid(), Uid::effective().as_raw());
    assert_eq!(names(path.parent().expect("a directory")), ["orders"]);
    daemon.wait_until("it is counted", |daemon| {
        let counts = (count(daemon, "written"), count(daemon, "failed"));
        (counts == (Some(1.0), Some(0.0))).then_some(()).ok_or_else(|| format!("{counts:?}"))
    });
    // A role without a file has no such series.
    assert_eq!(daemon.metric(METRIC, &[("role", "none")]), None);
}

#[test]
fn the_group_is_that_of_the_token_unless_another_is_named() {
    if !Uid::effective().is_root() {
        println!("SKIPPED: only root may give files to any group");
        return;
    }
    let sts = FakeSts::start();
    let (_daemon, path) = filed(with(&sts), "token_group = \"daemon\"");
    written(&path);
    let daemon_group = Group::from_name("daemon").expect("groups").expect("daemon");
    assert_eq!(fs::metadata(&path).expect("a file").gid(), daemon_group.gid.as_raw());
}

#[test]
fn each_refresh_replaces_it_and_no_reader_sees_half() {
    let sts = FakeSts::start();
    let (daemon, path) = filed(with(&sts), "");
    written(&path);
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (stop, path) = (stop.clone(), path.clone());
        std::thread::spawn(move || {
            let mut seen: Vec<Read> = Vec::new();
            let mut reads = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let read = lies(&path).expect("it is never gone");
                reads += 1;
                if seen.last() != Some(&read) {
                    seen.push(read);
                }
            }
            (seen, reads)
        })
    };
    for _ in 0..20 {
        let before = lies(&path).expect("a file").key;
        daemon.signal(Signal::SIGUSR1);
        daemon.wait_until("it is replaced", |_| {
            let now = lies(&path).expect("it is never gone").key;
            (now != before).then_some(()).ok_or(now)
        });
    }
    stop.store(true, Ordering::Relaxed);
    let (seen, reads) = reader.join().expect("whole files only");
    assert!(seen.len() > 5 && reads > 20, "{} of {reads}", seen.len());
    let issued = sts.issued();
    for read in seen {
        let of = issued.iter().find(|issued| issued.access_key_id == read.key).expect("issued");
        assert_eq!(
            (of.secret_access_key.clone(), of.session_token.clone()),
            (read.secret, read.token)
        );
    }
    assert_eq!(names(path.parent().expect("a directory")), ["orders"]);
}

// === its end ===

#[test]
fn it_is_removed_when_its_credentials_have_ended() {
    let sts = FakeSts::start();
    let (daemon, path) = filed(with(&sts).sessions_of(3), "");
    written(&path);
    sts.stop();
    removed(&path);
    let ended = sts.issued().last().expect("an issue").expires_at;
    assert!(jiff::Timestamp::now().as_second() >= ended.as_second());
    assert_eq!(names(path.parent().expect("a directory")), Vec::<String>::new());
    sts.restart();
    let read = written(&path);
    assert!(sts.issued().iter().any(|issued| issued.access_key_id == read.key));
    assert_eq!(count(&daemon, "failed"), Some(0.0));
}

#[test]
fn what_has_ended_and_cannot_be_replaced_goes_all_the_same() {
    let sts = FakeSts::start();
    let (mut daemon, path) = filed(with(&sts).sessions_of(6), "");
    written(&path);
    // From now on nothing can be written, while credentials come as ever.
    daemon.text.set_role(
        "orders",
        &format!("{}\ncredentials_file_group = \"no-such-group-here\"", named(&path)),
    );
    daemon.reload();
    daemon.logged(ONE_ERROR);
    removed(&path);
    daemon.vended("orders");
}

#[test]
fn a_denial_removes_it_only_where_that_is_wanted() {
    let sts = FakeSts::start();
    let setup = with(&sts);
    let other = setup.home().join("files").join("kept");
    let setup = setup.role_with("kept", &named(&other));
    let (daemon, path) = filed(setup, "on_denied = \"drop\"");
    written(&path);
    let kept = written(&other);
    sts.any().always(Fault::access_denied());
    daemon.signal(Signal::SIGUSR1);
    daemon.failed("kept", "denied");
    daemon.failed("orders", "denied");
    removed(&path);
    assert_eq!(lies(&other), Some(kept));
}

// === reload and restart ===

#[test]
fn a_reload_adds_moves_and_takes_it_away_and_keeps_the_credentials() {
    let sts = FakeSts::start();
    let setup = with(&sts).role("orders");
    let dir = files(&setup);
    let (first, second) = (dir.join("first"), dir.join("second"));
    let mut daemon = setup.start();
    let key = daemon.key("orders");
    daemon.text.set_role("orders", &named(&first));
    daemon.reload();
    holds(&first, &key);
    daemon
        .text
        .set_role("orders", &format!("{}\ncredentials_file_profile = \"p\"", named(&second)));
    daemon.reload();
    holds(&second, &key);
    assert_eq!(written(&second).profile, "p");
    removed(&first);
    // What somebody has done to it is mended by the next one.
    fs::remove_file(&second).expect("to remove");
    daemon.reload();
    holds(&second, &key);
    daemon.text.set_role("orders", "");
    daemon.reload();
    removed(&second);
    daemon.text.set_role("orders", &named(&first));
    daemon.reload();
    holds(&first, &key);
    daemon.text.remove_role("orders");
    daemon.text.set_role("other", "");
    daemon.reload();
    removed(&first);
    assert_eq!(names(&dir), Vec::<String>::new());
    let of_orders = sts.issued().into_iter().filter(|issued| issued.role_arn == arn("orders"));
    assert_eq!(of_orders.count(), 1, "the credentials were kept");
}

#[test]
fn what_was_issued_for_another_request_does_not_stay() {
    let sts = FakeSts::start();
    let (mut daemon, path) = filed(with(&sts), "");
    let key = written(&path).key;
    sts.any().always(Fault::access_denied());
    daemon.text.set_role("orders", &format!("{}\nexternal_id = \"another\"", named(&path)));
    daemon.reload();
    removed(&path);
    sts.any().clear();
    daemon.signal(Signal::SIGUSR1);
    assert_ne!(written(&path).key, key);
}

#[test]
fn it_outlives_the_process_until_its_end() {
    let sts = FakeSts::start();
    let (mut daemon, path) = filed(with(&sts).sessions_of(6), "");
    written(&path);
    assert_eq!(daemon.stop(), Some(0));
    let left = lies(&path).expect("clients go on");
    let issued = sts.issued().into_iter();
    let of_it = issued.filter(|issued| issued.access_key_id == left.key);
    // In whole seconds, as clients are told.
    let ends = of_it.map(|issued| issued.expires_at.as_second()).next();
    let ends = ends.expect("issued");
    // The next process has nothing in hand and gets nothing: what lies there stays as long as it lasts.
    sts.any().always(Fault::status(503));
    daemon.launch();
    daemon.failed("orders", "network");
    let now = || jiff::Timestamp::now().as_second();
    assert!(lies(&path) == Some(left) || now() >= ends);
    removed(&path);
    assert!(now() >= ends, "it went {} s early", ends - now());
    sts.any().clear();
    written(&path);
}

#[test]
fn what_ended_while_the_daemon_was_away_is_removed_and_what_was_left_unfinished_too() {
    let sts = FakeSts::start();
    let (mut daemon, path) = filed(with(&sts).sessions_of(3), "");
    written(&path);
    assert_eq!(daemon.stop(), Some(0));
    let ends = sts.issued().last().expect("an issue").expires_at;
    wait_for("it has ended", || {
        let now = jiff::Timestamp::now();
        (now > ends).then_some(()).ok_or_else(|| now.to_string())
    });
    assert!(lies(&path).is_some());
    fs::write(path.with_file_name(".orders.new-1"), "half a secret").expect("to write");
    sts.any().always(Fault::status(503));
    daemon.launch();
    removed(&path);
    assert_eq!(names(path.parent().expect("a directory")), Vec::<String>::new());
}

#[test]
fn what_systemd_keeps_is_written_again_by_the_next_process() {
    let sts = FakeSts::start();
    let setup = with(&sts);
    let path = files(&setup).join("orders");
    let mut supervised = setup.role_with("orders", &named(&path)).supervised();
    supervised.launch();
    let read = written(&path);
    supervised.supervisor.wait_until_stored(read.key.as_bytes());
    assert_eq!(supervised.daemon.stop(), Some(0));
    fs::remove_file(&path).expect("to remove");
    sts.stop();
    supervised.launch();
    assert_eq!(written(&path), read);
}

// === what is in the way ===

/// Starts with this in the way, and sees that the role is vended, and what is told of it.
fn in_the_way(sts: &FakeSts, more: &str, put: impl FnOnce(&Path)) -> (Daemon, PathBuf, String) {
    let setup = with(sts);
    let path = setup.home().join("files").join("orders");
    put(&path);
    let daemon = setup.role_with("orders", &format!("{}\n{more}", named(&path))).start();
    let line = daemon.logged(ONE_ERROR);
    assert!(line.contains("ERROR") && line.contains("orders"), "{line}");
    daemon.vended("orders");
    daemon.wait_until("it is tried again, and counted", |daemon| {
        let failed = count(daemon, "failed");
        (failed >= Some(2.0)).then_some(()).ok_or_else(|| format!("{failed:?}"))
    });
    assert_eq!(count(&daemon, "written"), Some(0.0));
    assert_eq!(daemon.log().matches(ONE_ERROR).count(), 1, "one error while it lasts");
    (daemon, path, line)
}

fn recovers(daemon: &Daemon, path: &Path) {
    written(path);
    let line = daemon.logged("as it should be again");
    assert!(line.contains("INFO") && line.contains("failed_attempts="), "{line}");
    assert_eq!(daemon.log().matches(ONE_ERROR).count(), 1);
}

#[test]
fn a_missing_directory_is_told_with_what_makes_it_and_mended_by_that() {
    let sts = FakeSts::start();
    let (daemon, path, line) = in_the_way(&sts, "", |_| {});
    let dir = path.parent().expect("a directory");
    assert!(line.contains("install -d -m 0755 -o"), "{line}");
    assert!(line.contains(&dir.display().to_string()), "{line}");
    assert!(!dir.exists(), "it is not ours to make");
    fs::create_dir(dir).expect("a directory");
    recovers(&daemon, &path);
}

#[test]
fn a_link_is_neither_followed_nor_replaced() {
    let sts = FakeSts::start();
    let (daemon, path, line) = in_the_way(&sts, "", |path| {
        fs::create_dir(path.parent().expect("a directory")).expect("a directory");
        fs::write(path.with_file_name("target"), "theirs").expect("to write");
        symlink("target", path).expect("a link");
    });
    assert!(line.contains("it is a symbolic link; move it away"), "{line}");
    let target = path.with_file_name("target");
    assert_eq!(fs::read_to_string(&target).expect("a file"), "theirs");
    assert!(fs::symlink_metadata(&path).expect("a link").is_symlink());
    fs::remove_file(&path).expect("to remove");
    recovers(&daemon, &path);
    assert_eq!(fs::read_to_string(&target).expect("a file"), "theirs");
}

#[test]
fn a_file_that_somebody_else_wrote_is_neither_replaced_nor_removed() {
    const THEIRS: &str = "[default]\naws_access_key_id = AKIATHEIRS\n";
    let sts = FakeSts::start();
    let (mut daemon, path, line) = in_the_way(&sts, "", |path| {
        fs::create_dir(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, THEIRS).expect("to write");
    });
    assert!(line.contains("it holds what roletap has not written; move it away"), "{line}");
    daemon.text.set_role("orders", "");
    daemon.reload();
    daemon.vended("orders");
    daemon.text.set_role("orders", &named(&path));
    daemon.reload();
    assert_eq!(fs::read_to_string(&path).expect("a file"), THEIRS);
    fs::rename(&path, path.with_file_name("theirs")).expect("to move");
    written(&path);
}

#[test]
fn a_file_that_only_root_may_read_is_told() {
    const NOBODY: u32 = 65_534;
    if !Uid::effective().is_root() {
        println!("SKIPPED: only root may leave a file of root's");
        return;
    }
    let sts = FakeSts::start();
    let setup = with(&sts);
    let path = files(&setup).join("orders");
    let dir = path.parent().expect("a directory").to_owned();
    let mut daemon = setup.role_with("orders", &named(&path)).prepare();
    // As a daemon that root has tried by hand leaves it.
    fs::write(&path, "# written by roletap").expect("to write");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("a mode");
    for given in [daemon.home(), &dir] {
        chown(given, Some(NOBODY), Some(NOBODY)).expect("to give");
    }
    fs::set_permissions(daemon.config_path(), PermissionsExt::from_mode(0o644)).expect("a mode");
    let mut command = daemon.command(&["run"]);
    command.uid(NOBODY).gid(NOBODY);
    daemon.spawn_as(command);
    daemon.wait_until_serving();
    let line = daemon.logged(ONE_ERROR);
    assert!(line.contains("roletap's user may not read it; move it away"), "{line}");
    fs::remove_file(&path).expect("to remove");
    recovers(&daemon, &path);
}

#[test]
fn a_group_that_is_not_there_is_told_by_its_key() {
    let sts = FakeSts::start();
    let (mut daemon, path, line) =
        in_the_way(&sts, "credentials_file_group = \"no-such-group-here\"", |path| {
            fs::create_dir(path.parent().expect("a directory")).expect("a directory")
        });
    assert!(line.contains("credentials_file_group `no-such-group-here` does not exist"), "{line}");
    daemon.text.set_role("orders", &named(&path));
    daemon.reload();
    recovers(&daemon, &path);
}

#[test]
fn an_unwritable_directory_is_told_and_the_role_is_vended() {
    const NOBODY: u32 = 65_534;
    let sts = FakeSts::start();
    let setup = with(&sts);
    let path = files(&setup).join("orders");
    let dir = path.parent().expect("a directory").to_owned();
    let mut daemon = setup.role_with("orders", &named(&path)).prepare();
    // Root may write everywhere, so it has to be somebody else.
    let mut command = daemon.command(&["run"]);
    if Uid::effective().is_root() {
        for ours in [daemon.home(), &dir] {
            chown(ours, Some(NOBODY), Some(NOBODY)).expect("to give");
        }
        fs::set_permissions(daemon.config_path(), PermissionsExt::from_mode(0o644))
            .expect("a mode");
        command.uid(NOBODY).gid(NOBODY);
    }
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o555)).expect("a mode");
    daemon.spawn_as(command);
    daemon.wait_until_serving();
    let line = daemon.logged(ONE_ERROR);
    assert!(line.contains("has to be writable for"), "{line}");
    daemon.vended("orders");
    assert!(count(&daemon, "failed") >= Some(1.0));
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).expect("a mode");
    recovers(&daemon, &path);
}

/// The same command, beside a file system at this directory that answers nothing. `None` where nobody may mount one.
fn beside_one_that_hangs(dir: &Path, command: &Command) -> Option<Command> {
    const MOUNT: &str = "exec 3<>/dev/fuse && \
        mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 hangs \"$0\"";
    let shell = |what: &str| {
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", what]).arg(dir);
        shell
    };
    if finish(&mut shell(MOUNT)).code != Some(0) {
        println!("SKIPPED: no file system can be mounted here");
        return None;
    }
    let mut beside = shell(&format!("{MOUNT} && exec \"$@\""));
    beside.arg(command.get_program()).args(command.get_args());
    beside.env_clear();
    for (name, value) in command.get_envs() {
        beside.env(name, value.unwrap_or_default());
    }
    Some(beside)
}

#[test]
fn a_file_system_that_hangs_keeps_no_start_and_no_reload_waiting() {
    let sts = FakeSts::start();
    let setup = with(&sts).role("other");
    let path = files(&setup).join("orders");
    let mut daemon = setup.role_with("orders", &named(&path)).prepare();
    let dir = path.parent().expect("a directory");
    let Some(command) = beside_one_that_hangs(dir, &daemon.command(&["run"])) else {
        return;
    };
    daemon.spawn_as(command);
    daemon.wait_until_serving();
    daemon.vended("orders");
    daemon.reload();
    daemon.vended("other");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn check_looks_at_where_it_lies() {
    let sts = FakeSts::start();
    let setup = with(&sts);
    let dir = files(&setup);
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).expect("a mode");
    let daemon = setup.role_with("orders", &named(&dir.join("orders"))).prepare();
    let checked = daemon.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("credentials-file-in-open-directory"), "{checked:?}");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o1777)).expect("a mode");
    let checked = daemon.run(&["check"]);
    assert!(checked.stdout.contains("put a file of their own"), "{checked:?}");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o775)).expect("a mode");
    let checked = daemon.run(&["check"]);
    assert!(!checked.stdout.contains("credentials-file-in-open-directory"), "{checked:?}");
    assert!(
        !Path::new("/proc/mounts").exists() || on_a_disk(&checked.stdout) != lies_in_memory(&dir)
    );
}

fn on_a_disk(said: &str) -> bool {
    said.contains("credentials-file-on-disk")
}

/// By another way than the daemon's.
fn lies_in_memory(dir: &Path) -> bool {
    let kind = finish(Command::new("stat").args(["--file-system", "--format=%T"]).arg(dir));
    matches!(kind.stdout.trim(), "tmpfs" | "ramfs")
}

// === Amazon's own client ===

#[test]
fn the_sdk_of_rust_is_led_here_by_env_and_reads_what_lies_there() {
    if std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").is_some() {
        use aws_config::profile::ProfileFileCredentialsProvider;
        return say(async { ProfileFileCredentialsProvider::builder().build() });
    }
    let sts = FakeSts::start();
    let (daemon, path) = filed(with(&sts).role("none"), "credentials_file_profile = \"sinks\"");
    let read = written(&path);
    let missing = daemon.run(&["env", "none", "--front", "file"]);
    assert_eq!(missing.code, Some(78), "{missing:?}");
    assert!(missing.stderr.contains("add credentials_file"), "{missing:?}");
    let settings = daemon.run(&["env", "orders", "--front", "file", "--format", "json"]);
    let settings: Value = serde_json::from_str(&settings.stdout).expect("JSON");
    assert_eq!(
        settings["set"],
        json!({
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PROFILE": "sinks",
            "AWS_SHARED_CREDENTIALS_FILE": path,
        })
    );
    let unset = settings["unset"].as_array().expect("a list");
    assert!(unset.contains(&json!("AWS_CONTAINER_CREDENTIALS_FULL_URI")), "{unset:?}");
    assert!(!unset.contains(&json!("AWS_PROFILE")), "{unset:?}");
    let mut set = variables(&settings);
    set.push(("HOME".to_owned(), daemon.home().display().to_string()));
    let said = credentials_found_by(
        "credentials_file::the_sdk_of_rust_is_led_here_by_env_and_reads_what_lies_there",
        &set,
    );
    assert_eq!(said, json!([read.key, read.secret, read.token, null, null]));
}
