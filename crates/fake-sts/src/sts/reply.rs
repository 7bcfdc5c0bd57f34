//! A verdict and a script become bytes, and the manner in which they leave.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::fault::{ErrorForm, Expiry, Fault, Field, Script};
use super::request::Received;
use super::world::{Issued, Judgement, World, account_of, role_id};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// The usual length of a session token of AWS, in bytes.
const USUAL_TOKEN_BYTES: usize = 900;

/// Bytes to send, and how it ends.
pub(super) struct RawReply {
    pub(super) bytes: Vec<u8>,
    /// Bytes at a time after the head, and the pause between.
    pub(super) pace: Option<(usize, Duration)>,
    pub(super) head_length: usize,
    pub(super) ending: Ending,
    pub(super) latency: Duration,
    /// For the log.
    pub(super) label: String,
}

/// The end of the connection after the answer.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// As the client wishes.
    Kept,
    Closed,
    Reset,
    Hung,
}

/// Composes the answer to one request.
pub(super) fn compose(
    world: &mut World,
    request: &Received,
    script: &Script,
    request_id: &str,
) -> RawReply {
    let fault = &script.fault;
    let verdict = match fault {
        Fault::Error { .. } => Judgement::Refuse(fault.clone()),
        _ => world.judge(request),
    };
    // A broken answer is a broken *good* answer: a refusal in its place would hide what the script is about.
    let refused = matches!(verdict, Judgement::Refuse(_));
    let label = match &verdict {
        Judgement::Refuse(refusal) => refusal.label(),
        Judgement::Issue { .. } | Judgement::Identity { .. } => fault.label(),
    };
    let mut message = message(world, request, verdict, fault, request_id);
    if !refused {
        truncate(&mut message.body, fault);
    }

    let head = head(world, &message, script, request_id);
    let head_length = head.len();
    let middle = head_length + message.body.len() / 2;
    let mut bytes = head.into_bytes();
    bytes.append(&mut message.body);

    let (sent, ending) = match fault {
        Fault::ResetOnAccept | Fault::Reset => (0, Ending::Reset),
        Fault::HangOnAccept | Fault::Hang => (0, Ending::Hung),
        Fault::Close => (0, Ending::Closed),
        Fault::HangMidHead => (head_length / 2, Ending::Hung),
        Fault::CloseMidHead => (head_length / 2, Ending::Closed),
        Fault::HangMidBody => (middle, Ending::Hung),
        Fault::CloseMidBody => (middle, Ending::Closed),
        Fault::ResetMidBody => (middle, Ending::Reset),
        Fault::ContentLengthOff(_) => (bytes.len(), Ending::Closed),
        Fault::Garbage => {
            bytes =
                b"\x16\x03\x01\x00\xff\x00SSH-2.0-not-http\r\n\r\n\x00\xfe\xed\xfa\xce".to_vec();
            (bytes.len(), Ending::Closed)
        }
        Fault::None
        | Fault::SlowBody { .. }
        | Fault::Page { .. }
        | Fault::Body { .. }
        | Fault::HugeBody(_)
        | Fault::TruncatedBefore(_)
        | Fault::TruncatedWithin(_)
        | Fault::Missing(_)
        | Fault::Empty(_)
        | Fault::Expires(_)
        | Fault::TokenOfBytes(_)
        | Fault::Error { .. } => (bytes.len(), Ending::Kept),
    };
    bytes.truncate(sent);
    let pace = match fault {
        Fault::SlowBody { chunk, every } => Some(((*chunk).max(1), *every)),
        _ => None,
    };
    RawReply { bytes, pace, head_length, ending, latency: script.latency, label }
}

/// The status, type and body, before they are broken.
fn message(
    world: &mut World,
    request: &Received,
    verdict: Judgement,
    fault: &Fault,
    request_id: &str,
) -> Message {
    match fault {
        Fault::Page { status } => Message {
            status: *status,
            content_type: "text/html; charset=utf-8",
            body: PORTAL.into(),
        },
        Fault::Body { status, content_type, body } => {
            Message { status: *status, content_type, body: body.clone() }
        }
        Fault::HugeBody(bytes) => {
            Message { status: 200, content_type: "text/xml", body: vec![b'A'; *bytes] }
        }
        // Nothing of these reaches the client, so nothing is issued.
        Fault::ResetOnAccept
        | Fault::HangOnAccept
        | Fault::Hang
        | Fault::Reset
        | Fault::Close
        | Fault::Garbage
        | Fault::HangMidHead
        | Fault::CloseMidHead => {
            Message { status: 200, content_type: "text/xml", body: Vec::new() }
        }
        Fault::None
        | Fault::HangMidBody
        | Fault::CloseMidBody
        | Fault::ResetMidBody
        | Fault::SlowBody { .. }
        | Fault::ContentLengthOff(_)
        | Fault::TruncatedBefore(_)
        | Fault::TruncatedWithin(_)
        | Fault::Missing(_)
        | Fault::Empty(_)
        | Fault::Expires(_)
        | Fault::TokenOfBytes(_)
        | Fault::Error { .. } => answer(world, request, verdict, fault, request_id),
    }
}

/// The status line and the header lines.
fn head(world: &World, message: &Message, script: &Script, request_id: &str) -> String {
    let date = world.now() + SignedDuration::from_secs(script.date_shift_seconds);
    let declared = match &script.fault {
        Fault::ContentLengthOff(by) => message.body.len().saturating_add_signed(*by as isize),
        _ => message.body.len(),
    };
    let mut head = format!(
        "HTTP/1.1 {} {}\r\nx-amzn-RequestId: {request_id}\r\nContent-Type: {}\r\nContent-Length: {declared}\r\nDate: {}\r\n",
        message.status,
        http::StatusCode::from_u16(message.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Status"),
        message.content_type,
        date.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    );
    for (name, value) in &script.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

struct Message {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

fn answer(
    world: &mut World,
    request: &Received,
    verdict: Judgement,
    fault: &Fault,
    request_id: &str,
) -> Message {
    match verdict {
        Judgement::Refuse(refusal) => {
            let caller = world.caller_arn(request);
            let role = request.role_arn.as_deref().unwrap_or("*");
            refuse(&refusal, &caller, role, request_id)
        }
        Judgement::Identity { arn } => {
            let (account, id) = (account_of(&arn), caller_id(&arn));
            xml(format!(
                "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{}</Arn>\
                 <UserId>{}</UserId><Account>{account}</Account></GetCallerIdentityResult>\
                 <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                 </GetCallerIdentityResponse>",
                escaped(&arn),
                escaped(&id),
            ))
        }
        Judgement::Issue { session_name, lifetime_seconds } => {
            let lifetime = match fault {
                Fault::Expires(Expiry::In(seconds)) => SignedDuration::from_secs(*seconds),
                _ => SignedDuration::from_secs(lifetime_seconds.into()),
            };
            let token_bytes = match fault {
                Fault::TokenOfBytes(bytes) => *bytes,
                _ => USUAL_TOKEN_BYTES,
            };
            let issued = world.issue(request, &session_name, lifetime, token_bytes);
            xml(issue_document(&request.action, request, &issued, fault, request_id))
        }
    }
}

fn issue_document(
    action: &str,
    request: &Received,
    issued: &Issued,
    fault: &Fault,
    request_id: &str,
) -> String {
    let element = |field: Field, value: &str| match fault {
        Fault::Missing(missing) if *missing == field => String::new(),
        Fault::Empty(empty) if *empty == field => format!("<{0}></{0}>", field.name()),
        _ => format!("<{0}>{1}</{0}>", field.name(), escaped(value)),
    };
    let mut credentials = String::new();
    for field in Field::ALL {
        let value = match field {
            Field::AccessKeyId => issued.access_key_id.clone(),
            Field::SecretAccessKey => issued.secret_access_key.clone(),
            Field::SessionToken => issued.session_token.clone(),
            Field::Expiration => expiration(issued.expires_at, fault),
        };
        credentials.push_str(&element(field, &value));
    }
    let source_identity = request
        .source_identity
        .as_deref()
        .map(|identity| format!("<SourceIdentity>{}</SourceIdentity>", escaped(identity)))
        .unwrap_or_default();
    let token_bytes = issued.session_token.len();
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result><AssumedRoleUser><AssumedRoleId>{}</AssumedRoleId>\
         <Arn>{}</Arn></AssumedRoleUser><Credentials>{credentials}</Credentials>{source_identity}\
         <SessionTokenUtilization>{}</SessionTokenUtilization><SessionTokenSize>{token_bytes}</SessionTokenSize>\
         </{action}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>",
        escaped(&caller_id(&issued.session_arn)),
        escaped(&issued.session_arn),
        (token_bytes * 100 / 4096).min(100),
    )
}

fn expiration(at: Timestamp, fault: &Fault) -> String {
    match fault {
        Fault::Expires(Expiry::Fraction(digits)) => {
            // Never .000, which a client could drop without harm.
            let fraction = &"162492731"[..usize::from(*digits).clamp(1, 9)];
            format!("{}.{fraction}Z", at.strftime("%Y-%m-%dT%H:%M:%S"))
        }
        Fault::Expires(Expiry::Offset(hours)) => {
            let local = at + SignedDuration::from_hours((*hours).into());
            let sign = if *hours < 0 { '-' } else { '+' };
            format!("{}{sign}{:02}:00", local.strftime("%Y-%m-%dT%H:%M:%S"), hours.unsigned_abs())
        }
        Fault::Expires(Expiry::Text(text)) => (*text).to_owned(),
        _ => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

fn refuse(refusal: &Fault, caller: &str, role: &str, request_id: &str) -> Message {
    let Fault::Error { status, code, message, form } = refusal else {
        // `World::judge` refuses with errors only.
        return Message { status: 500, content_type: "text/plain", body: Vec::new() };
    };
    let message = message.replace("{caller}", caller).replace("{role}", role);
    let message = escaped(&message);
    let culprit = if *status < 500 { "Sender" } else { "Receiver" };
    let (content_type, body) = match form {
        ErrorForm::Namespaced => (
            "text/xml",
            format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\">\n  <Error>\n    <Type>{culprit}</Type>\n    <Code>{code}</Code>\n    \
                 <Message>{message}</Message>\n  </Error>\n  <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n"
            ),
        ),
        ErrorForm::Bare => (
            "application/xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message>\
                 <RequestId>{request_id}</RequestId><HostId>fake</HostId></Error>"
            ),
        ),
        ErrorForm::Json => (
            "application/x-amz-json-1.1",
            format!("{{\"__type\":\"{code}\",\"message\":\"{}\"}}", message.replace('"', "'")),
        ),
    };
    Message { status: *status, content_type, body: body.into_bytes() }
}

fn truncate(body: &mut Vec<u8>, fault: &Fault) {
    let text = String::from_utf8_lossy(body);
    let cut = match fault {
        Fault::TruncatedBefore(mark) => text.find(mark),
        Fault::TruncatedWithin(field) => {
            let open = format!("<{}>", field.name());
            let close = format!("</{}>", field.name());
            text.find(&open).zip(text.find(&close)).map(|(from, to)| (from + open.len() + to) / 2)
        }
        _ => None,
    };
    if let Some(cut) = cut {
        body.truncate(cut);
    }
}

fn caller_id(arn: &str) -> String {
    match arn.split_once(":assumed-role/") {
        Some((_, rest)) => {
            format!("{}:{}", role_id(arn), rest.rsplit('/').next().unwrap_or_default())
        }
        None => "AIDAFAKEBASEIDENTITY2".to_owned(),
    }
}

fn xml(document: String) -> Message {
    Message { status: 200, content_type: "text/xml", body: document.into_bytes() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const PORTAL: &str = "<!DOCTYPE html>\n<html><head><title>Sign in to the network</title></head>\n\
<body><h1>Welcome</h1><form action=\"/login\" method=post><input name=user><br><input type=submit></form></body></html>\n";
