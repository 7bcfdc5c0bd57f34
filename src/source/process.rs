//! `credential_process`: a program that prints credentials.
//!
//! Its standard error may contain secrets, so it is not read. At the time limit the program and its
//! children are killed.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::error::SourceError;
use roletap_core::role::CommandLine;

/// The longest run of the program. It is below [`super::LOAD_TIMEOUT`], so that the error names it.
const TIME_LIMIT: Duration = Duration::from_secs(9);
/// The longest output of the program. Credentials are far shorter.
const MAX_BYTES: u64 = 64 * 1024;

/// Runs the command and parses the credentials that it prints.
pub(super) async fn run(command: &CommandLine) -> Result<Credentials, SourceError> {
    let program = command.program();
    let refuse = |what: String| SourceError::new(format!("the command {program} {what}"));
    let mut child = Command::new("sh");
    child
        .args(["-c", command.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = child.spawn().map_err(|error| refuse(format!("cannot be started: {error}")))?;
    let group = Group::of(child.id());
    let mut output = Zeroizing::new(Vec::new());
    let finished = async {
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_BYTES + 1).read_to_end(&mut output).await?;
        }
        // Do not wait for a program that prints too much.
        if output.len() as u64 > MAX_BYTES {
            return Ok(None);
        }
        child.wait().await.map(Some)
    };
    let finished: Result<std::io::Result<Option<ExitStatus>>, _> =
        tokio::time::timeout(TIME_LIMIT, finished).await;
    match finished {
        // The program succeeded, so its children (such as an agent) may run on.
        Ok(Ok(Some(_))) => group.spare(),
        Ok(Ok(None) | Err(_)) | Err(_) => drop(group),
    }
    match finished {
        Err(_) => {
            Err(refuse(format!("did not exit within {} s and was killed", TIME_LIMIT.as_secs())))
        }
        Ok(Err(error)) => Err(refuse(format!("cannot be waited for: {error}"))),
        Ok(Ok(None)) => {
            Err(refuse(format!("printed more than {} KiB and was killed", MAX_BYTES / 1024)))
        }
        Ok(Ok(Some(status))) if !status.success() => Err(refuse(format!(
            "failed with {status}: run it by hand as the daemon's user to see why"
        ))),
        Ok(Ok(Some(_))) => parse(&output).map_err(refuse),
    }
}

/// Parses the output in the format that AWS documents (`Version: 1`). The error does not quote it.
pub fn parse(output: &[u8]) -> Result<Credentials, String> {
    let printed: Value = serde_json::from_slice(output).map_err(|error| {
        format!("did not print valid JSON: see line {}, column {}", error.line(), error.column())
    })?;
    if printed.get("Version").and_then(Value::as_i64) != Some(1) {
        return Err("did not print `\"Version\": 1`".to_owned());
    }
    let text = |key: &str| {
        let text = printed.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let needed = |key: &str| text(key).ok_or_else(|| format!("did not print `{key}`"));
    let expires_at = match text("Expiration") {
        None => None,
        Some(end) => {
            let end: jiff::Timestamp = end
                .parse()
                .map_err(|_| "printed an `Expiration` that is not a timestamp".to_owned())?;
            Some(SystemTime::from(end))
        }
    };
    Ok(Credentials::new(
        needed("AccessKeyId")?,
        needed("SecretAccessKey")?,
        text("SessionToken").map(str::to_owned),
        expires_at,
        "credential_process",
    ))
}

/// Kills a process group on drop, unless it is spared.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Self {
        Self(id.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may have exited already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ran(command: &str) -> Result<Credentials, SourceError> {
        run(&CommandLine::parse(command).unwrap()).await
    }

    #[tokio::test]
    async fn the_printed_credentials_are_parsed() {
        let command = r#"echo '{"Version":1,"AccessKeyId":"AKIA1","SecretAccessKey":"s","SessionToken":"t","Expiration":"2030-01-02T03:04:05+00:00","More":[]}'"#;
        let found = ran(command).await.unwrap();
        assert_eq!(found.access_key_id(), "AKIA1");
        assert_eq!(found.secret_access_key(), "s");
        assert_eq!(found.session_token(), Some("t"));
        let end: jiff::Timestamp = "2030-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(found.expiry(), Some(SystemTime::from(end)));
    }

    #[tokio::test]
    async fn an_error_does_not_quote_the_output() {
        for (command, why) in [
            ("echo sentinel", "did not print valid JSON"),
            ("echo '{\"Version\":2}'", "did not print `\"Version\": 1`"),
            (
                "echo '{\"Version\":1,\"AccessKeyId\":\"sentinel\"}'",
                "did not print `SecretAccessKey`",
            ),
            (
                "echo '{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\",\"Expiration\":\"sentinel\"}'",
                "is not a timestamp",
            ),
            ("echo sentinel >&2; exit 3", "failed with exit status: 3"),
            ("/nonexistent/program", "failed with exit status: 127"),
            ("cat /dev/zero", "printed more than 64 KiB"),
        ] {
            let error = ran(command).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("sentinel"), "{error}");
        }
    }
}
