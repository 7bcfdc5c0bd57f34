//! The page for operators, `docs/errors.md`: every error, its meaning and its repair. The daemon gets each error over a
//! socket, and the page has its words. `UPDATE_GOLDEN=1` writes the page again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};

use nix::unistd::Uid;
use roletap_core::failure::Class;
use roletap_core::failure::explain::table::{self, Certainty};
use serde_json::Value;

use crate::support::harness::{Answer, Connection, Daemon, Port, Setup, arn, request, text, with};
use crate::support::silence::FullBacklog;
use crate::support::tls::{Authority, Flaw, TlsFront};
use fake_sts::{CatalogueRow, FakeSts, Fault, catalogue};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");

/// The class and the advice that the daemon gives for one failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Diagnosis {
    class: String,
    meaning: String,
    ask: String,
    change: String,
}

/// Every failure that a daemon got, with its diagnosis.
type Walk = Vec<(String, Diagnosis)>;

fn diagnosis(role: &Value) -> Diagnosis {
    let error = &role["last_error"];
    let part = |name: &str| text(&error[name]);
    let found = Diagnosis {
        class: part("class"),
        meaning: part("meaning"),
        ask: part("ask"),
        change: part("change"),
    };
    let Diagnosis { meaning, ask, change, .. } = &found;
    assert_eq!(part("advice"), format!("{meaning}. Ask {ask}: {change}"), "one line for logs");
    found
}

/// The status, code and message of an answer, as an operator finds them in a log.
fn said(row: &CatalogueRow) -> String {
    if let Fault::Error { status, code, message, .. } = row.script.fault() {
        let message = message
            .replace("{caller}", "arn:aws:iam::999988887777:user/roletap-base")
            .replace("{role}", &arn("orders"));
        let colon = if message.is_empty() { "" } else { ": " };
        return format!("{status} `{code}`{colon}{}", message.trim());
    }
    row.name.replace("dead on arrival by", "credentials that had expired before the answer, by")
}

/// Adds a role with session tags, which some failures are about.
fn add(setup: Setup, name: &str) -> Setup {
    setup.role_with(name, "tags = { CostCenter = \"42\" }")
}

fn by_the_catalogue(walk: &mut Walk) {
    let rows: Vec<CatalogueRow> = catalogue()
        .into_iter()
        .filter(|row| !row.hangs && !matches!(row.class, "throttled" | "clock"))
        .collect();
    let sts = FakeSts::start();
    let mut setup =
        with(&sts).log("audit = \"off\"").sts("max_in_flight = 32\nmax_requests_per_second = 600");
    for (at, row) in rows.iter().enumerate() {
        let name = format!("r{at}");
        sts.role(&arn(&name)).always(row.script.clone());
        setup = add(setup, &name);
    }
    let daemon = setup.start();
    for (at, row) in rows.iter().enumerate() {
        let name = format!("r{at}");
        let mut found = diagnosis(&daemon.failed(&name, row.class));
        for part in [&mut found.meaning, &mut found.ask, &mut found.change] {
            *part = part.replace(&arn(&name), &arn("orders"));
        }
        walk.push((said(row), found));
    }
    // These failures hold back the whole host, so each gets a daemon of its own.
    let of_the_host = catalogue().into_iter().filter(|row| {
        row.class == "clock" || row.class == "throttled" && !row.name.contains("Retry-After")
    });
    for row in of_the_host {
        let sts = FakeSts::start();
        sts.any().always(row.script.clone());
        let daemon = add(with(&sts), "orders").start();
        let mut found = diagnosis(&daemon.failed("orders", row.class));
        found.meaning = with_one_skew(&found.meaning);
        walk.push((said(&row), found));
    }
}

/// Replaces the measured skew, so that the page has one text for all. A `Date` has whole seconds, so the skew may be off by
/// one second.
fn with_one_skew(meaning: &str) -> String {
    const HOST: &str = "the clock of this host is ";
    let Some((seconds, rest)) = meaning.strip_prefix(HOST).and_then(|rest| rest.split_once(" s "))
    else {
        return meaning.to_owned();
    };
    let seconds: u64 = seconds.parse().expect("a number");
    let is_scripted = [600, 1200, 3600].iter().any(|scripted| seconds.abs_diff(*scripted) <= 1);
    assert!(is_scripted, "{meaning}");
    let after = rest.strip_prefix("behind ").or(rest.strip_prefix("ahead of "));
    format!("{HOST}600 s behind {}", after.expect("a direction"))
}

fn alone(walk: &mut Walk, what: &str, class: &str, daemon: &Daemon) {
    let found = diagnosis(&daemon.failed("orders", class));
    walk.push((what.to_owned(), found));
}

/// Failures without an answer of STS: DNS, connections, TLS, proxies and missing credentials.
fn by_obstacles(walk: &mut Walk) {
    let sts = FakeSts::start();
    let setup = || {
        let setup = with(&sts).sts("attempt_timeout = \"1s\"\nconnect_timeout = \"500ms\"");
        add(setup, "orders")
    };
    let daemon = setup()
        .endpoint("http://sts.roletap.invalid")
        .env("RES_OPTIONS", "timeout:1 attempts:1")
        .start();
    alone(walk, "the name of … does not resolve", "network", &daemon);
    let closed = FakeSts::start();
    closed.stop();
    let daemon = setup().endpoint(&closed.endpoint_url()).start();
    alone(walk, "… refuses connections", "network", &daemon);
    let daemon = setup()
        .endpoint("https://sts.roletap.invalid")
        .env("HTTPS_PROXY", &sts.endpoint_url())
        .start();
    sts.any().always(Fault::Page { status: 407 });
    alone(walk, "the proxy did not connect roletap to …", "network", &daemon);
    sts.any().clear();
    sts.any().always(Fault::Hang);
    let daemon = setup().start();
    alone(walk, "no answer from … within … s", "network", &daemon);
    sts.any().clear();
    let silent = FullBacklog::new();
    let daemon = setup().endpoint(&silent.url("http")).start();
    alone(walk, "no connection to … within the connect timeout", "network", &daemon);
    let daemon =
        setup().without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY").start();
    alone(walk, "no base credentials", "source", &daemon);

    let authority = Authority::new();
    for (flaw, trusted, what) in [
        (Flaw::None, false, "this host does not trust the issuer of the certificate of …"),
        (Flaw::Expired, true, "the certificate of … has expired or is not valid yet"),
        (Flaw::OtherName, true, "the certificate of … is for another name"),
    ] {
        let front = TlsFront::start(&authority, flaw, sts.address());
        let mut setup = setup().endpoint(&front.url());
        if trusted {
            let path = setup.home().join("ca.pem");
            authority.write_to(&path);
            setup = setup.env("SSL_CERT_FILE", &path.display().to_string());
        }
        alone(walk, what, "network", &setup.start());
    }
    for (answer, what) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "… does not speak TLS"),
        // An alert: no version or cipher in common.
        (b"\x15\x03\x03\x00\x02\x02\x28", "the TLS handshake with … failed"),
    ] {
        let daemon = setup().endpoint(&always_says(answer)).start();
        alone(walk, what, "network", &daemon);
    }

    let setup = setup()
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .env("AWS_PROFILE", "sso");
    let profile = setup.home().join("config");
    std::fs::write(
        &profile,
        "[profile sso]\nsso_session = x\nsso_account_id = 111122223333\nsso_role_name = r\n\
        [sso-session x]\nsso_region = eu-central-1\nsso_start_url = https://x.awsapps.com/start\n",
    )
    .expect("to write");
    let daemon = setup.env("AWS_CONFIG_FILE", &profile.display().to_string()).start();
    alone(
        walk,
        "no base credentials: the profile needs IAM Identity Center (SSO)",
        "source",
        &daemon,
    );
}

/// Failures of the source that signs.
fn by_sources(walk: &mut Walk) {
    let sts = FakeSts::start();
    let other = with(&sts).role("orders").start();
    let vended = other.vended("orders");
    let part = |name: &str| text(&vended[name]);
    let daemon = with(&sts)
        .without_base()
        .env("AWS_ACCESS_KEY_ID", &part("AccessKeyId"))
        .env("AWS_SECRET_ACCESS_KEY", &part("SecretAccessKey"))
        .env("AWS_SESSION_TOKEN", &part("Token"))
        .role("orders")
        .start();
    let what = "source … is already a session of …";
    alone(walk, what, "misconfigured", &daemon);

    let setup = with(&sts);
    let config = setup.home().join("roletap.toml").display().to_string();
    let command = format!(
        "credential_process = '''exec {} credential-process other'''",
        env!("CARGO_BIN_EXE_roletap")
    );
    let daemon = setup
        .env("ROLETAP_CONFIG", &config)
        .source("loop", &command)
        .role("other")
        .role_with("orders", "source = \"loop\"")
        .start();
    let what = "source … returns the credentials that roletap vends for the role …";
    alone(walk, what, "misconfigured", &daemon);

    sts.role(&arn("parent")).always(Fault::access_denied());
    let daemon = with(&sts).role("parent").role_with("orders", "source = \"role.parent\"").start();
    let what = "the role … has no unexpired credentials: …";
    alone(walk, what, "source", &daemon);

    let token =
        "operation = \"assume_role_with_web_identity\"\nweb_identity_token_file = \"absent\"";
    let daemon = with(&sts).role_with("orders", token).start();
    let what = "no usable web identity token: … does not exist";
    alone(walk, what, "source", &daemon);
}

/// The replies to workloads in place of credentials, from the credentials endpoint and from a front.
fn refusals() -> [Vec<Answer>; 2] {
    const METADATA: &str = "/latest/meta-data";
    let sts = FakeSts::start();
    sts.role(&arn("r1")).always(Fault::Hang);
    sts.role(&arn("r2")).always(Fault::Page { status: 503 });
    sts.role(&arn("r3")).always(Fault::access_denied());
    let other = Uid::effective().as_raw() + 1;
    let front = Port::reserve();
    let setup = with(&sts)
        .sts("attempt_timeout = \"20s\"")
        .front("sink", &format!("listen = \"{}\"\nrole = \"orders\"", front.address));
    let daemon = ["orders", "r1", "r2", "r3"]
        .into_iter()
        .fold(setup, Setup::role)
        .role_with("r4", &format!("allow_users = [\"{other}\"]"))
        .start();
    daemon.vended("orders");
    daemon.failed("r2", "network");
    daemon.failed("r3", "denied");
    daemon.role_when("r4", "is there", |role| role["phase"] == "fresh");
    let token = daemon.token("orders");
    let ours = format!("{}orders", roletap::server::vend::PATH);
    let authorized = ("Authorization", token.as_str());
    let mut by_token: Vec<Answer> = ["r1", "r2", "r3", "r4"].map(|role| daemon.get(role)).into();
    by_token.extend([
        daemon.get_with("orders", "x"),
        daemon.get_with("r1", &token),
        daemon.ask("GET", &ours, &[authorized, ("X-Forwarded-For", "10.0.0.1")]),
        daemon.ask("GET", "/", &[authorized]),
        daemon.ask("POST", &ours, &[authorized]),
    ]);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut connection = Connection::to(front.address);
        connection.send(request(front.address, method, path, headers).as_bytes());
        connection.answer()
    };
    let lifetime = ("X-aws-ec2-metadata-token-ttl-seconds", "60");
    let session = ask("PUT", "/latest/api/token", &[lifetime]).text();
    let session = ("X-aws-ec2-metadata-token", session.as_str());
    let by_front = vec![
        ask("PUT", "/latest/api/token", &[]),
        ask("GET", &format!("{METADATA}/iam/security-credentials/"), &[]),
        ask("GET", &format!("{METADATA}/instance-id"), &[session]),
        ask("GET", "/latest/api/token", &[session]),
    ];
    [by_token, by_front]
}

/// The lines of the page about these replies.
fn told(answers: &[Answer]) -> String {
    let mut out = String::new();
    for answer in answers {
        let body = answer.json();
        let mut message = text(&body["message"]);
        for role in ["r1", "r2", "r3", "r4"] {
            message = message.replace(role, "orders");
        }
        // The caller depends on the user that runs this test.
        if let Some((before, rest)) = message.split_once("who asked, ")
            && let Some((_, after)) = rest.split_once(": `allow_users`")
        {
            message = format!("{before}who asked, user 1001 in cron.service: `allow_users`{after}");
        }
        let _ = writeln!(out, "- {} `{}`: {message}", answer.status, text(&body["code"]));
    }
    out
}

/// An https URL that answers every request with these bytes.
fn always_says(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &stream, answer);
            // Read until the other side closes: closing with unread bytes would reset the connection.
            let _ = std::io::copy(&mut &stream, &mut std::io::sink());
        }
    });
    url
}

/// Finds the row of a diagnosis: the place of its class, and its place in the table of the class.
fn place(found: &Diagnosis) -> Option<(usize, usize)> {
    let class = Class::ALL.iter().position(|class| class.as_str() == found.class)?;
    let row = table::rows(Class::ALL[class]).iter().position(|row| {
        let meaning = match row.certainty {
            Certainty::Told => row.meaning.to_owned(),
            Certainty::Likely(why) => format!("most likely {}. {why}", row.meaning),
        };
        made_of(&meaning, &found.meaning)
            && made_of(row.ask, &found.ask)
            && made_of(row.change, &found.change)
    })?;
    Some((class, row))
}

/// True if the text has the words of the template in their order.
fn made_of(template: &str, text: &str) -> bool {
    let words = template.split('{').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.split_once('}').map_or(part, |(_, rest)| rest),
    });
    let mut rest = text;
    for (at, words) in words.enumerate() {
        let found = if at == 0 { rest.starts_with(words).then_some(0) } else { rest.find(words) };
        let Some(found) = found else {
            return false;
        };
        rest = &rest[found + words.len()..];
    }
    rest.is_empty() || template.ends_with('}')
}

/// The text with a capital letter, unless it begins with an ARN or with roletap's name.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    match text.starts_with("arn:") || text.starts_with("roletap") {
        true => text.to_owned(),
        false => first.to_uppercase() + rest,
    }
}

fn page(walk: &Walk, [by_token, by_front]: &[Vec<Answer>; 2]) -> String {
    let mut by_row: BTreeMap<(usize, usize), BTreeMap<&Diagnosis, Vec<&str>>> = BTreeMap::new();
    for (said, found) in walk {
        let row = place(found).unwrap_or_else(|| panic!("not in the table: {found:?}"));
        by_row.entry(row).or_default().entry(found).or_default().push(said);
    }
    let mut out = String::from(
        "# Errors\n\n\
         This page lists every known error of STS, and of a proxy or another server in its place.\n\
         Each entry tells what the error means, whom to ask, and what to ask for. Below it are the answers that cause it.\n\
         The last section lists the errors that workloads get.\n\n\
         `roletap status`, `/roles`, the log and `roletap doctor` use the same words with your own ARNs.\n\
         On this page the role is `arn:aws:iam::111122223333:role/orders`, and its session has tags.\n\
         The base identity is an IAM user of account 999988887777: roletap signs its requests to STS with the keys of\n\
         that user.\n\n\
         A test produces each error over a socket and writes this page from the words of the daemon. To change a text, edit\n\
         `crates/core/src/failure/explain/table`. The class (`clock`, `denied`, …) decides when roletap tries again: see\n\
         [operating.md](operating.md).\n",
    );
    let mut class = None;
    for ((class_at, _), diagnoses) in by_row {
        if class != Some(class_at) {
            class = Some(class_at);
            let _ = writeln!(out, "\n## {}", Class::ALL[class_at]);
        }
        for (found, said) in diagnoses {
            let mut said: Vec<&str> = said;
            said.dedup();
            let meaning = sentence(&found.meaning);
            let _ = writeln!(out, "\n**{meaning}.** Ask {}: {}.\n", found.ask, found.change);
            for said in said {
                let _ = writeln!(out, "- {}", said.replace('<', "\\<"));
            }
        }
    }
    let _ = write!(
        out,
        "\n## What a workload is told\n\n\
         A workload gets one of these errors in place of credentials. Its SDK shows the text in the log of the\n\
         workload. The text never quotes STS.\n\n{}\n\
         A front (`[imds.NAME]`) gives these errors too, and the following:\n\n{}",
        told(by_token),
        told(by_front)
    );
    out
}

/// The meanings of rows that this test cannot produce.
const NOT_MET: [&str; 2] =
    ["this host has no network route to the STS endpoint", "this host cannot reach STS"];

#[test]
fn the_page_of_errors_says_what_the_daemon_says() {
    let mut walk = Walk::new();
    by_the_catalogue(&mut walk);
    by_obstacles(&mut walk);
    by_sources(&mut walk);
    let met: Vec<_> = walk.iter().filter_map(|(_, found)| place(found)).collect();
    let mut missing = Vec::new();
    for (at, class) in Class::ALL.iter().enumerate() {
        for (row, found) in table::rows(*class).iter().enumerate() {
            if !met.contains(&(at, row)) && !NOT_MET.contains(&found.meaning) {
                missing.push(format!("{class}: {}", found.meaning));
            }
        }
    }
    assert!(missing.is_empty(), "never met: {missing:#?}");
    let page = page(&walk, &refusals());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PAGE, &page).expect("to write the page");
    }
    let before = std::fs::read_to_string(PAGE).unwrap_or_default();
    if let Some((was, is)) = before.lines().zip(page.lines()).find(|(was, is)| was != is) {
        panic!(
            "docs/errors.md says\n{was}\nand the daemon\n{is}\nUPDATE_GOLDEN=1 writes the page again"
        );
    }
    assert_eq!(before.len(), page.len(), "UPDATE_GOLDEN=1 writes docs/errors.md again");
}
