//! Commands that run to their end.

use std::process::{Command, Stdio};

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let output = command.stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The command in namespaces of its own, after this script; `None`, said aloud, where the machine allows none.
pub(crate) fn unshared(namespaces: &[&str], script: &str, command: &Command) -> Option<Command> {
    let unshare = |tail: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(namespaces);
        if !nix::unistd::Uid::effective().is_root() {
            unshare.arg("--map-root-user");
        }
        unshare.args(["sh", "-c"]).args(tail);
        unshare
    };
    let probe = unshare(&[&format!("set -e\n{script}")]).stdin(Stdio::null()).output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        println!("SKIPPED: this machine allows no `unshare {namespaces:?}`: {probe:?}");
        return None;
    }
    let mut unshared = unshare(&[&format!("set -e\n{script}\nexec \"$@\""), "sh"]);
    unshared
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(unshared)
}
