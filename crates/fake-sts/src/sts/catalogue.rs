//! Every way in which STS is known to fail over a plain socket, and what our client must make of it.
//!
//! The classes are those of the contract. Where only the text of a message tells two causes apart, both carry the
//! class of their code: the classifier never reads messages.

mod codes;

use std::time::Duration;

use super::fault::{ErrorForm, Expiry, Fault, Field, Script};

/// One failure, and the class that it must earn.
#[derive(Clone, Debug)]
pub struct CatalogueRow {
    /// The code, and what tells it from others with the same code.
    pub name: String,
    /// The operation at which AWS answers like this. A client that makes another meets the same class.
    pub action: &'static str,
    /// The script that produces it.
    pub script: Script,
    /// `network`, `throttled`, `source`, `denied`, `misconfigured`, `clock`; in [`oddities`] `issued`.
    pub class: &'static str,
    /// No answer in time: it costs the client its whole attempt timeout.
    pub hangs: bool,
}

/// Every failure with the class it must earn. Those that hang need a client with an attempt timeout:
/// the SDK has none of its own.
pub fn catalogue() -> Vec<CatalogueRow> {
    let mut rows = Vec::new();
    transport(&mut rows);
    not_sts(&mut rows);
    unusable(&mut rows);
    codes::add(&mut rows);
    other_dialects(&mut rows);
    rows
}

/// Strange answers that are good ones: each must be `issued`.
pub fn oddities() -> Vec<CatalogueRow> {
    let mut rows = Vec::new();
    let mut issued =
        |name: &str, script: Script| rows.push(row(name, "AssumeRole", script, "issued"));
    issued("plain", Script::ok());
    issued("late by 300 ms", Script::ok().after(Duration::from_millis(300)));
    issued(
        "body in small pieces",
        Fault::SlowBody { chunk: 64, every: Duration::from_millis(2) }.into(),
    );
    issued("expiration in microseconds (moto)", Fault::Expires(Expiry::Fraction(6)).into());
    issued("expiration in nanoseconds (ceph)", Fault::Expires(Expiry::Fraction(9)).into());
    issued("expiration in milliseconds", Fault::Expires(Expiry::Fraction(3)).into());
    issued("expiration with +00:00", Fault::Expires(Expiry::Offset(0)).into());
    issued("expiration with +02:00", Fault::Expires(Expiry::Offset(2)).into());
    issued("session token of 4096 bytes", Fault::TokenOfBytes(4096).into());
    issued("date ahead by two minutes", Script::ok().dated(120));
    rows
}

fn transport(rows: &mut Vec<CatalogueRow>) {
    let faults = [
        ("reset on accept", Fault::ResetOnAccept),
        ("hang on accept", Fault::HangOnAccept),
        ("hang after the request", Fault::Hang),
        ("reset after the request", Fault::Reset),
        ("closed without an answer", Fault::Close),
        ("hang in the head", Fault::HangMidHead),
        ("closed in the head", Fault::CloseMidHead),
        ("hang in the body", Fault::HangMidBody),
        ("closed in the body", Fault::CloseMidBody),
        ("reset in the body", Fault::ResetMidBody),
        ("body of a byte per second", Fault::SlowBody { chunk: 1, every: Duration::from_secs(1) }),
        ("garbage", Fault::Garbage),
        ("content-length too long", Fault::ContentLengthOff(100)),
        ("content-length too short", Fault::ContentLengthOff(-700)),
    ];
    for (name, fault) in faults {
        rows.push(row(name, "AssumeRole", fault.into(), "network"));
    }
    rows.push(row(
        "answer after a minute",
        "AssumeRole",
        Script::ok().after(Duration::from_secs(60)),
        "network",
    ));
}

fn not_sts(rows: &mut Vec<CatalogueRow>) {
    let faults = [
        ("200 html (captive portal)", Fault::Page { status: 200 }),
        ("403 html (proxy)", Fault::Page { status: 403 }),
        ("407 html (proxy)", Fault::Page { status: 407 }),
        ("503 html (load balancer)", Fault::Page { status: 503 }),
        ("200 empty", Fault::status(200)),
        (
            "200 json",
            Fault::Body { status: 200, content_type: "application/json", body: b"{}".to_vec() },
        ),
        ("200 with 10 MiB", Fault::HugeBody(10 * 1024 * 1024)),
    ];
    for (name, fault) in faults {
        rows.push(row(name, "AssumeRole", fault.into(), "network"));
    }
}

fn unusable(rows: &mut Vec<CatalogueRow>) {
    let mut network =
        |name: &str, fault: Fault| rows.push(row(name, "AssumeRole", fault.into(), "network"));
    network("truncated before <Credentials>", Fault::TruncatedBefore("<Credentials>"));
    network("truncated before <SessionToken>", Fault::TruncatedBefore("<SessionToken>"));
    network("truncated before <Expiration>", Fault::TruncatedBefore("<Expiration>"));
    network("truncated in SecretAccessKey", Fault::TruncatedWithin(Field::SecretAccessKey));
    network("truncated in SessionToken", Fault::TruncatedWithin(Field::SessionToken));
    network("truncated in Expiration", Fault::TruncatedWithin(Field::Expiration));
    for field in Field::ALL {
        network(&format!("{} missing", field.name()), Fault::Missing(field));
        network(&format!("{} empty", field.name()), Fault::Empty(field));
    }
    network("expiration is no date", Fault::Expires(Expiry::Text("tomorrow, noon")));
    network("expiration is epoch seconds", Fault::Expires(Expiry::Text("1795219200")));
    // No service error, though it looks like one: nothing says that the code is to be believed.
    network("200 with an error inside", Fault::error(200, "InternalFailure", "inside a 200"));
}

/// The same matters in the words of services that only resemble STS: the code must still be found.
fn other_dialects(rows: &mut Vec<CatalogueRow>) {
    let cases = [
        (403, "AccessDenied", "denied"),
        (404, "NoSuchEntity", "misconfigured"),
        (403, "InvalidAccessKeyId", "source"),
        (403, "SignatureDoesNotMatch", "source"),
        (503, "SlowDown", "throttled"),
        (500, "InternalError", "network"),
        (400, "MalformedPolicyDocument", "misconfigured"),
    ];
    for (status, code, class) in cases {
        let fault = Fault::error_in(ErrorForm::Bare, status, code, "");
        rows.push(row(&format!("{code} {status} bare"), "AssumeRole", fault.into(), class));
    }
    let fault = Fault::error(404, "NoSuchEntity", "The role with name orders cannot be found.");
    rows.push(row("NoSuchEntity 404", "AssumeRole", fault.into(), "misconfigured"));
    let fault = Fault::error_in(ErrorForm::Json, 500, "InternalFailure", "gateway");
    rows.push(row("InternalFailure 500 json", "AssumeRole", fault.into(), "network"));
    let fault = Fault::error_in(ErrorForm::Json, 429, "ThrottlingException", "Rate exceeded");
    rows.push(row("ThrottlingException 429 json", "AssumeRole", fault.into(), "throttled"));
}

fn row(name: &str, action: &'static str, script: Script, class: &'static str) -> CatalogueRow {
    let hangs = match script.fault() {
        Fault::HangOnAccept | Fault::Hang | Fault::HangMidHead | Fault::HangMidBody => true,
        Fault::SlowBody { every, .. } => *every >= Duration::from_secs(1),
        _ => script.latency >= Duration::from_secs(1),
    };
    CatalogueRow { name: name.to_owned(), action, script, class, hangs }
}
