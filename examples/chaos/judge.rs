//! One answer against the contract: its form, whose credentials it holds and for how long, whether a refusal is due.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::World;
use crate::client::Answer;
use crate::oracle::{After, Before, SHIFTED_SLACK};

/// Over a connection that is already served; the machine may be busy, the contract says 400 ms.
const SLOWEST: Duration = Duration::from_secs(3);

/// What a request has to earn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// The role's credentials if any are in hand.
    Credentials,
    /// This status with this code.
    Refusal(u16, &'static str),
}

/// One request, about to be sent.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) role: usize,
    pub(crate) before: Before,
    pub(crate) text: String,
    pub(crate) what: &'static str,
    pub(crate) is_head: bool,
    pub(crate) expect: Expect,
}

impl World {
    /// Counts an answer, or the violation that it is.
    pub(crate) fn judge(&self, ask: &Ask, reused: bool, answer: &Answer) {
        let took = ask.before.begun.elapsed();
        let oracle = &self.oracle;
        let mut verdict = self.examine(ask, answer);
        if reused && oracle.same_process(&ask.before) {
            oracle.took(took);
            if took > SLOWEST {
                verdict = Err(format!("took {:.1} s", took.as_secs_f64()));
            }
        }
        match verdict {
            Ok(code) => oracle.count(&format!("answer {} {code}", answer.status)),
            Err(problem) => {
                oracle.count(&format!("answer {} broken", answer.status));
                let facts = &ask.before.facts;
                oracle.violation(&format!(
                    "{problem}: {} of {} asked at {} (present {}, identities {:?}, in hand {:?}) got {}",
                    ask.what,
                    oracle.roles[ask.role].name,
                    ask.before.asked,
                    facts.present,
                    facts.identities,
                    facts.in_hand,
                    redacted(answer)
                ));
            }
        }
    }

    fn examine(&self, ask: &Ask, answer: &Answer) -> Result<String, String> {
        let after = self.oracle.after(ask.role, &ask.before);
        headers_in_order(answer, ask.is_head)?;
        if ask.is_head {
            return match answer.status {
                200 => Ok("HEAD".to_owned()),
                401 if !ask.before.facts.present || !after.steady => Ok("HEAD".to_owned()),
                403 | 503 => self.nothing_in_hand(&after).map(|()| "HEAD".to_owned()),
                status => Err(format!("HEAD got {status}")),
            };
        }
        let body: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("the body is no JSON: {error}"))?;
        match ask.expect {
            Expect::Refusal(status, code) => {
                let got = refusal_code(answer, &body)?;
                if answer.status == status && got == code {
                    Ok(got)
                } else {
                    Err(format!("{status} {code} was due"))
                }
            }
            Expect::Credentials if answer.status == 200 => {
                if answer.body.len() >= 10_000
                    || answer.body.iter().any(|b| matches!(b, b'\n' | b'\\'))
                {
                    return Err("the document has escapes, lines or 10,000 bytes".to_owned());
                }
                self.examine_credentials(&after, &body)?;
                Ok("Success".to_owned())
            }
            Expect::Credentials => {
                let code = refusal_code(answer, &body)?;
                self.examine_refusal(&after, answer, &code)?;
                Ok(code)
            }
        }
    }

    /// What came as a 200.
    pub(crate) fn examine_credentials(
        &self,
        after: &After<'_>,
        body: &Value,
    ) -> Result<(), String> {
        let before = after.before;
        let text = |field: &str| body[field].as_str().unwrap_or_default();
        if text("Code") != "Success" {
            return Err("a 200 without success".to_owned());
        }
        let issued =
            self.oracle.issue_of(&self.sts, text("AccessKeyId")).ok_or("nobody issued this key")?;
        if issued.role_arn != self.oracle.roles[after.role].arn {
            return Err(format!("these are the credentials of {}", issued.role_arn));
        }
        if text("RoleArn") != issued.role_arn
            || text("SecretAccessKey") != issued.secret_access_key
            || text("Token") != issued.session_token
        {
            return Err("not the fields that STS issued with this key".to_owned());
        }
        let expiration = text("Expiration");
        let expires: Timestamp =
            expiration.parse().map_err(|_| "Expiration is no time".to_owned())?;
        if expiration.len() != 20
            || !expiration.ends_with('Z')
            || expires.as_second() != issued.expires_at.as_second()
        {
            return Err(format!("STS granted it until {}", issued.expires_at));
        }
        // The daemon looked at the clock after it was asked.
        let earliest = before.asked + SignedDuration::from_secs(after.shift.0) - slack(after.shift);
        if expires <= earliest {
            return Err(format!("had expired when asked, key {}", issued.number));
        }
        let identity = issued
            .external_id
            .as_deref()
            .and_then(|id| id.strip_prefix("ws-")?.parse::<u64>().ok())
            .unwrap_or_default();
        if identity < after.identities.0 || identity > after.identities.1 {
            return Err(format!("issued for another identity, ws-{identity}"));
        }
        if !before.facts.present && after.steady {
            return Err("the role had been removed".to_owned());
        }
        if issued.number < before.facts.newest {
            return Err(format!(
                "an older key came back: {} after {}",
                issued.number, before.facts.newest
            ));
        }
        let account = body.get("AccountId").and_then(Value::as_str);
        if after.account_id.is_some_and(|due| due != account.is_some())
            || account.is_some_and(|id| id != "111122223333")
        {
            return Err("AccountId is not as configured".to_owned());
        }
        self.oracle.seen(after, issued.number, expires);
        Ok(())
    }

    fn examine_refusal(
        &self,
        after: &After<'_>,
        answer: &Answer,
        code: &str,
    ) -> Result<(), String> {
        let removed = !after.before.facts.present;
        let fits = match (answer.status, code) {
            (503, "CredentialsPending" | "CredentialsUnavailable") => {
                let wait = answer.header("retry-after").and_then(|s| s.parse().ok());
                wait.is_some_and(|seconds: u64| (1..=30).contains(&seconds))
            }
            (403, "AssumeRoleFailed") => true,
            (401, "Unauthorized") => removed || !after.steady,
            _ => false,
        };
        if !fits {
            return Err("a refusal that this request cannot earn".to_owned());
        }
        if removed && after.steady && answer.status != 401 {
            return Err("401 was due: the role had been removed".to_owned());
        }
        self.nothing_in_hand(after)
    }

    /// Promise 2: a failure takes nothing away.
    pub(crate) fn nothing_in_hand(&self, after: &After<'_>) -> Result<(), String> {
        let facts = &after.before.facts;
        let Some(held) = facts.in_hand.filter(|_| after.steady && !facts.drops) else {
            return Ok(());
        };
        let latest = after.answered + SignedDuration::from_secs(after.shift.1) + slack(after.shift);
        let arn = &self.oracle.roles[after.role].arn;
        if held.expires <= latest
            || self.oracle.was_replaced_by_shorter(&self.sts, arn, held.number, latest)
        {
            return Ok(());
        }
        Err(format!("refused though key {} was in hand until {}", held.number, held.expires))
    }
}

fn slack(shift: (i64, i64)) -> SignedDuration {
    if shift == (0, 0) { SignedDuration::ZERO } else { SHIFTED_SLACK }
}

fn headers_in_order(answer: &Answer, is_head: bool) -> Result<(), String> {
    let due = |name: &str, value: &str| {
        (answer.header(name) == Some(value))
            .then_some(())
            .ok_or_else(|| format!("{name}: {value} was due"))
    };
    due("content-type", "application/json")?;
    due("cache-control", "no-store")?;
    let length = answer
        .header("content-length")
        .and_then(|length| length.parse::<usize>().ok())
        .ok_or("no Content-Length")?;
    if !is_head && length != answer.body.len() || length == 0 {
        return Err("an empty or short body".to_owned());
    }
    for name in ["transfer-encoding", "content-encoding", "location", "www-authenticate"] {
        if answer.header(name).is_some() {
            return Err(format!("{name} has no place here"));
        }
    }
    Ok(())
}

/// The code of a refusal, which says everything twice and gives nothing away.
fn refusal_code(answer: &Answer, body: &Value) -> Result<String, String> {
    if !(400..600).contains(&answer.status) {
        return Err("neither 200 nor a refusal".to_owned());
    }
    let same = body["code"] == body["Code"] && body["message"] == body["Message"];
    match body["code"].as_str() {
        Some(code) if same && body.as_object().is_some_and(|body| body.len() == 4) => {
            Ok(code.to_owned())
        }
        _ => Err("a refusal without its four fields".to_owned()),
    }
}

/// The answer without its secrets.
fn redacted(answer: &Answer) -> String {
    let mut text = format!("{}", answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(text, " {name}: {value};");
    }
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(Value::Object(mut body)) => {
            for secret in ["SecretAccessKey", "Token"] {
                body.remove(secret);
            }
            let _ = write!(text, " {}", Value::Object(body));
        }
        _ => {
            let _ = write!(text, " ({} bytes of another kind)", answer.body.len());
        }
    }
    text
}
