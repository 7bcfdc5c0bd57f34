//! Nothing secret leaves the process but in the one document that it is for: a whole life at the most talkative level.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use crate::support::harness::{BASE_SECRET, Daemon, arn, request, with};
use fake_sts::{FakeSts, Fault, Field, catalogue};

const EXTERNAL_ID: &str = "external-id-only-for-us-7f3a";
const OTHER_EXTERNAL_ID: &str = "another-external-id-9c21";
const FILED_EXTERNAL_ID: &str = "external-id-in-a-file-55d0";
const BASE_SESSION: &str = "base-session-token-that-nobody-may-see-4711";
const GUESS: &str = "a-token-that-somebody-guessed-and-sent-to-us";

type Headers<'a> = Vec<(&'a str, &'a str)>;

/// Everything that came out of the daemon in its life, by where.
type Said = BTreeMap<String, String>;

fn note(said: &mut Said, place: &str, text: &str) {
    let all = said.entry(place.to_owned()).or_default();
    all.push_str(text);
    all.push('\n');
}

fn look_around(daemon: &Daemon, said: &mut Said) {
    for path in ["/metrics", "/roles", "/readyz", "/livez", "/nothing"] {
        note(said, path, &format!("{:?}", daemon.admin(path)));
    }
    for arguments in
        [&["status"][..], &["status", "--json"], &["check"], &["check", "--format", "json"]]
    {
        let finished = daemon.run(arguments);
        note(said, &arguments.join(" "), &finished.stdout);
        note(said, &arguments.join(" "), &finished.stderr);
    }
}

/// Refusals of every kind, with the headers in which people send secrets.
fn be_refused(daemon: &Daemon, said: &mut Said) {
    let token = daemon.token("orders");
    let orders = "/v1/credentials/orders";
    let requests: [(&str, String, Headers<'_>); 9] = [
        ("GET", orders.to_owned(), vec![]),
        ("GET", orders.to_owned(), vec![("Authorization", GUESS)]),
        ("GET", "/v1/credentials/nobody".to_owned(), vec![("Authorization", &token)]),
        ("POST", orders.to_owned(), vec![("Authorization", &token)]),
        ("GET", format!("/{token}"), vec![("Authorization", &token)]),
        ("GET", format!("{orders}?token={token}"), vec![]),
        ("GET", orders.to_owned(), vec![("Authorization", &token), ("Origin", "http://x")]),
        ("GET", orders.to_owned(), vec![("Authorization", &token), ("Host", "evil.example")]),
        (
            "GET",
            "/v1/credentials/broken".to_owned(),
            vec![("Authorization", &token), ("User-Agent", "curl")],
        ),
    ];
    for (method, path, headers) in requests {
        let answer = daemon.ask(method, &path, &headers);
        assert_ne!(answer.status, 200);
        note(said, "refusals", &format!("{answer:?}"));
    }
    let garbage = format!("GET {orders} HTTP/1.1\r\nAuthorization {token}\r\n\r\n");
    note(said, "refusals", &format!("{:?}", daemon.raw(garbage.as_bytes())));
    let big = "x".repeat(20_000);
    let headers = [("Authorization", token.as_str()), ("X", &big)];
    let mut connection = daemon.connect();
    let _ = connection.try_send(request(daemon.vend_address(), "GET", orders, &headers).as_bytes());
    note(said, "refusals", &format!("{:?}", connection.try_head()));
}

/// Which secrets stand in a text, and where. One pass: there are hundreds of them, and tens of megabytes of log.
fn found<'s>(text: &str, secrets: &[(&'s str, String)]) -> Vec<(&'s str, usize)> {
    let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    let mut by_start: Vec<Vec<usize>> = vec![Vec::new(); 1 << 16];
    for (at, (_, secret)) in secrets.iter().enumerate() {
        by_start[pair(secret.as_bytes())].push(at);
    }
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (at, two) in bytes.windows(2).enumerate() {
        for &candidate in &by_start[pair(two)] {
            let (kind, secret) = &secrets[candidate];
            if bytes[at..].starts_with(secret.as_bytes()) {
                found.push((*kind, at));
            }
        }
    }
    found
}

#[test]
fn the_search_for_secrets_finds_them() {
    let secrets = [("a", "abc".to_owned()), ("b", "bcd".to_owned()), ("c", "xyz".to_owned())];
    assert_eq!(found("..abcd.abc", &secrets), [("a", 2), ("b", 3), ("a", 7)]);
}

#[test]
fn no_secret_is_said_in_a_whole_life_at_trace() {
    let sts = FakeSts::start();
    let rows: Vec<_> = catalogue()
        .into_iter()
        .filter(|row| !row.hangs && !matches!(row.class, "throttled" | "clock"))
        .collect();
    let mut setup = with(&sts)
        .log("level = \"trace\"")
        .sts("attempt_timeout = \"2s\"\nmax_in_flight = 256\nmax_requests_per_second = 600")
        .env("AWS_SESSION_TOKEN", BASE_SESSION)
        .role_with("orders", &format!("external_id = \"{EXTERNAL_ID}\""))
        .role_with("filed", "external_id_file = \"id\"")
        .role("broken");
    // A file is the place for them; what is told of its being written, or not, is none.
    let home = setup.home().to_owned();
    for (name, path) in [("in-file", "in-file"), ("no-file", "missing/file")] {
        let path = home.join(path);
        setup = setup.role_with(name, &format!("credentials_file = \"{}\"", path.display()));
    }
    let audit = setup.home().join("audit.log");
    setup = setup.log(&format!("audit = \"{}\"", audit.display()));
    std::fs::write(setup.home().join("id"), FILED_EXTERNAL_ID).expect("to write");
    for (at, row) in rows.iter().enumerate() {
        let name = format!("r{at}");
        // First a good answer, then this one in its place: what is in hand must not be said either.
        sts.role(&arn(&name)).once(Fault::None).always(row.script.clone());
        setup = setup.role_with(&name, &format!("external_id = \"{EXTERNAL_ID}-{at}\""));
    }
    sts.role(&arn("broken")).always(Fault::Missing(Field::Expiration));
    let mut daemon = setup.start();
    let mut said = Said::new();
    daemon.vended("orders");
    daemon.vended("filed");
    daemon.failed("broken", "network");
    daemon.logged("the credentials file is written");
    daemon.logged("the credentials file is not as it should be");
    be_refused(&daemon, &mut said);
    look_around(&daemon, &mut said);

    // Every refresh fails in its own way.
    for at in 0..rows.len() {
        daemon.vended(&format!("r{at}"));
    }
    daemon.signal(Signal::SIGUSR1);
    for (at, row) in rows.iter().enumerate() {
        daemon.failed(&format!("r{at}"), row.class);
    }
    look_around(&daemon, &mut said);

    // A reload that is applied, one that is refused with secrets in the file, and a new token.
    let old_token = daemon.token("orders");
    std::fs::remove_file(daemon.token_path("orders")).expect("to remove");
    daemon.text.set_role("orders", &format!("external_id = \"{OTHER_EXTERNAL_ID}\""));
    daemon.reload();
    daemon.vended("orders");
    let good = daemon.rendered();
    for broken in [
        format!("{good}external_id = \"{EXTERNAL_ID}\"\nexternal_id = \"{OTHER_EXTERNAL_ID}\"\n"),
        format!("{good}aws_secret_access_key = \"{BASE_SECRET}\"\n"),
        format!("{good}token = \"{old_token}\"\n"),
        format!("{good}external_id = {EXTERNAL_ID}\n"),
        good.replace(OTHER_EXTERNAL_ID, &format!("{OTHER_EXTERNAL_ID} \u{1}")),
    ] {
        std::fs::write(daemon.config_path(), broken).expect("to write");
        daemon.reload_as_it_is("refused");
        look_around(&daemon, &mut said);
    }
    daemon.reload();
    // An outage, a denial, a throttled host.
    sts.stop();
    daemon.signal(Signal::SIGUSR1);
    daemon.failed("orders", "network");
    sts.restart();
    sts.any().always(Fault::throttled());
    daemon.signal(Signal::SIGUSR1);
    // Whichever role is the first: its answer stops the host.
    daemon.wait_until("a role fails as throttled", |daemon| {
        let overview = daemon.overview().to_string();
        let told = overview.contains(r#""class":"throttled""#);
        told.then_some(()).ok_or(overview)
    });
    look_around(&daemon, &mut said);
    be_refused(&daemon, &mut said);

    let tokens: Vec<String> =
        daemon.text.roles.iter().map(|(name, _)| daemon.token(name)).chain([old_token]).collect();
    assert_eq!(daemon.stop(), Some(0));
    note(&mut said, "standard error", &daemon.log());
    let audited = std::fs::read_to_string(&audit).expect("an audit log");
    assert!(audited.lines().count() > 10, "{audited}");
    note(&mut said, "audit", &audited);
    // The log was as talkative as can be; else this test proves little.
    assert!(said["standard error"].contains("TRACE"));

    let mut secrets: Vec<(&str, String)> = vec![
        ("the base secret", BASE_SECRET.to_owned()),
        ("the base session", BASE_SESSION.to_owned()),
        ("an external id", EXTERNAL_ID.to_owned()),
        ("an external id", OTHER_EXTERNAL_ID.to_owned()),
        ("an external id", FILED_EXTERNAL_ID.to_owned()),
        ("a guessed token", GUESS.to_owned()),
    ];
    secrets.extend(tokens.into_iter().map(|token| ("a token", token)));
    let issued = sts.secrets();
    assert!(issued.len() > rows.len());
    // Half a secret is one too.
    secrets.extend(issued.into_iter().map(|mut secret| {
        let half = secret.len() / 2;
        ("an issued secret", secret.split_off(half))
    }));
    let mut leaks = Vec::new();
    for (place, text) in &said {
        for (kind, at) in found(text, &secrets) {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let line: String = text[line..].chars().take(300).collect();
            leaks.push(format!("{kind} in {place}: {line}"));
        }
    }
    leaks.sort();
    leaks.dedup_by(|a, b| a[..a.len().min(60)] == b[..b.len().min(60)]);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
