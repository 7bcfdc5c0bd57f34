//! What the running daemon says, and whether its token opens its door.

use serde_json::Value;

use super::file::{FileStat, Reader, obstacle};
use super::{Finding, Unadvised};
use crate::role::Role;

/// A daemon that does not answer.
pub fn silent(what: &str) -> Finding {
    Finding::warning("daemon", format!("the daemon does not answer: {what}"))
        .means("nothing runs there, or it runs with another configuration")
        .change("start it (`systemctl start roletap`), or point --config at the file that it reads")
}

/// A daemon that answers.
pub fn answers(overview: &Value) -> Finding {
    let text = |name: &str| overview[name].as_str().unwrap_or("?");
    if overview["sts_paused"] == true {
        let what =
            format!("roletap {} runs, and STS throttles it: all calls pause", text("version"));
        return Finding::warning("daemon", what)
            .means("the account of roletap's base identity makes more requests than STS allows")
            .change("use longer sessions, or fewer hosts per account (`roletap check --hosts N` shows the sum)");
    }
    Finding::good("daemon", format!("roletap {} runs", text("version")))
}

/// Reports whether the daemon sees which process is calling; `None` where no role demands it.
pub fn callers(overview: &Value) -> Option<Finding> {
    Some(match overview["callers_known"].as_bool()? {
        true => Finding::good("callers", "the kernel tells the daemon who is calling"),
        false => Finding::failed("callers", "the daemon cannot see who is calling")
            .means("roles with `allow_users` or `allow_units` are refused to everybody")
            .change(overview["callers_error"].as_str().unwrap_or_default()),
    })
}

/// Reports on the credentials that the daemon has for a role, by `/roles`.
pub fn holds(role: &Role, overview: &Value) -> Finding {
    let roles = overview["roles"].as_array();
    let found =
        roles.and_then(|roles| roles.iter().find(|found| found["name"] == role.name.as_str()));
    let Some(found) = found else {
        return reload("the daemon does not know this role".to_owned());
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let phase = text(&found["phase"]);
    let error = &found["last_error"];
    let (until, message) = (text(&found["expires_at"]), text(&error["message"]));
    let said = |finding: Unadvised| {
        let finding = finding.means(text(&error["meaning"])).ask(text(&error["ask"]));
        finding.change(text(&error["change"]))
    };
    if found["role_arn"] != role.request.role_arn.as_str() {
        return reload(format!("the daemon has {} for it", text(&found["role_arn"])));
    }
    match (phase.as_str(), error.is_null()) {
        ("fresh" | "stale", true) => {
            Finding::good("daemon-role", format!("the daemon has credentials until {until}"))
        }
        ("fresh" | "stale", false) => {
            let what = format!("credentials until {until}, and fails to refresh them: {message}");
            said(Finding::warning("daemon-role", format!("the daemon has {what}")))
        }
        ("pending", _) => {
            Finding::note("daemon-role", "the daemon's first attempt is still under way")
        }
        _ => {
            let what = format!("the daemon has nothing to vend ({phase}): {message}");
            said(Finding::failed("daemon-role", what))
        }
    }
}

fn reload(what: String) -> Finding {
    Finding::failed("daemon-role", what)
        .means("the configuration was changed after it was read")
        .change("reload it (`systemctl reload roletap`)")
}

/// Reports on the endpoint's answer to the role's own token.
pub fn endpoint(url: &str, status: u16, code: &str) -> Finding {
    match status {
        200 => {
            Finding::good("endpoint", format!("{url} answers the role's token with credentials"))
        }
        403 if code == "CallerNotAllowed" => Finding::note(
            "endpoint",
            format!(
                "{url} is not for who asks here, by `allow_users` or `allow_units`: ask as the workload"
            ),
        ),
        401 | 404 => {
            let what = format!("{url} does not know the role's token (HTTP {status} {code})");
            Finding::failed("endpoint", what)
                .means("the token file was changed after the daemon read it, or another daemon listens there")
                .change("reload the daemon (`systemctl reload roletap`)")
        }
        _ => Finding::failed("endpoint", format!("{url} answers HTTP {status} {code}"))
            .means("workloads get this too")
            .change("look at what the daemon says about the role, above"),
    }
}

/// The token file, and who may read it.
pub fn token_file(
    role: &Role,
    file: Result<(&FileStat, &[FileStat]), String>,
    names: (&str, &str),
    text: Option<&str>,
    reader: Option<&Reader>,
) -> Vec<Finding> {
    let (file, above) = match file {
        Ok(found) => found,
        Err(what) => {
            let missing = Finding::failed("token-file", what)
                .means("the daemon writes it when it starts")
                .change("start the daemon with this configuration, or look with the permissions of somebody who may");
            return vec![missing];
        }
    };
    let (owner, group) = names;
    let path = file.path.display();
    let mode = file.mode & 0o777;
    let mut findings = vec![if mode & 0o007 != 0 {
        let what = format!("everybody may read {path} (mode {mode:04o}, {owner}:{group})");
        Finding::warning("token-file", what)
            .means("every process of this host can have the role")
            .change("take the permissions of others away, and name a group in `token_group`")
    } else {
        let whose = format!("user {owner} and group {group} (mode {mode:04o})");
        Finding::good("token-file", format!("{path} can be read by {whose}"))
    }];
    findings.extend(text.and_then(|text| blanks_around(text, &path.to_string())));
    findings.extend(reader.map(|reader| may_read(reader, file, above, role)));
    findings
}

fn may_read(reader: &Reader, file: &FileStat, above: &[FileStat], role: &Role) -> Finding {
    let name = &reader.name;
    let Some(entry) = obstacle(reader, file, above) else {
        return Finding::good("token-readable", format!("{name} may read it"));
    };
    let (path, mode) = (entry.path.display(), entry.mode & 0o7777);
    let group = format!("set `token_group` of role {} to a group that it is in", role.name);
    Finding::failed("token-readable", format!("{name} may not read it: {path} has mode {mode:04o}"))
        .means("its SDK will say that it found no credentials")
        .change(format!("{group}, and restart the workload if it was added just now"))
}

/// A token file with more in it than the token; `file` is how to call it.
pub(super) fn blanks_around(text: &str, file: &str) -> Option<Finding> {
    let what = format!("{file} has blanks or a newline at its ends");
    let finding = Finding::failed("token-newline", what)
        .means("most SDKs send it as it is, which is no valid header: the request fails before it is made")
        .change("write the token without a newline (`printf %s`)");
    (text.trim() != text).then_some(finding)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Mark;

    #[test]
    fn a_daemon_that_cannot_see_who_is_calling_fails_with_its_own_words() {
        let overview = |known: Value, error: Value| {
            callers(&json!({ "callers_known": known, "callers_error": error }))
        };
        assert_eq!(overview(Value::Null, Value::Null), None);
        let seen = overview(true.into(), Value::Null).unwrap();
        assert_eq!((seen.mark, seen.check), (Mark::Good, "callers"));
        let blind = overview(false.into(), "add AF_NETLINK to the unit".into()).unwrap();
        assert_eq!((blind.mark, blind.check), (Mark::Failed, "callers"));
        let advice = blind.advice.unwrap();
        assert!(advice.meaning.contains("allow_units"), "{advice:?}");
        assert_eq!(advice.change, "add AF_NETLINK to the unit");
    }

    #[test]
    fn who_is_not_a_roles_caller_has_found_nothing_wrong() {
        let refused = endpoint("http://127.0.0.1:5169", 403, "CallerNotAllowed");
        assert_eq!(refused.mark, Mark::Note);
        for code in ["AssumeRoleFailed", "Forbidden", ""] {
            let refused = endpoint("http://127.0.0.1:5169", 403, code);
            assert_eq!(refused.mark, Mark::Failed, "{code}");
        }
    }
}
