//! Request heads at the credentials endpoint and at instance metadata, parsed as hyper parses them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_smithy_async::time::StaticTimeSource;
use http::Request;
use http_body_util::BodyExt;
use roletap::audit::Audit;
use roletap::metrics::Metrics;
use roletap::server::imds::{ImdsEndpoint, SessionKey};
use roletap::server::vend::{Protocol, Vend, VendContext};
use roletap::server::{Connection, Endpoint};
use roletap::slots::{Slot, Slots, Table};
use roletap_core::backoff::Jitter;
use roletap_core::config::{Config, ConfigFile, FixedHost};
use roletap_core::fixtures::{DAWN, at, credentials};
use roletap_core::lifecycle::RoleState;
use roletap_core::role::RoleName;
use roletap_core::token_digest::{Digest, RoleTokens, Tokens};

const TOKEN: &str = "a-token-of-role-a";
const HEADERS: usize = 64;
/// It stands in every document of credentials.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The endpoints: by token, instance metadata of version 2, and of both versions.
static ENDPOINTS: LazyLock<[Arc<Vend>; 3]> = LazyLock::new(|| {
    let text = "[sts]\nregion = \"eu-central-1\"\n\
        [imds.two]\nlisten = [\"127.0.0.1:8080\"]\nrole = \"a\"\nregion = \"eu-west-1\"\n\
        [imds.one]\nlisten = [\"127.0.0.1:8081\"]\nrole = \"a\"\nhttp_tokens = \"optional\"\n\
        [role.a]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\naccount_id = true\n\
        [role.b]\nrole_arn = \"arn:aws:iam::111122223333:role/b\"\n";
    let config = Config::parse(vec![ConfigFile::text("roletap.toml", text)], &FixedHost::default())
        .unwrap_or_else(|report| panic!("{report}"))
        .config;
    let mut all: BTreeMap<RoleName, Arc<Slot>> = BTreeMap::new();
    for role in config.roles.values() {
        let held = credentials(role, at(0), Duration::from_secs(3600), 1);
        let state = RoleState::Pending.after(Ok(held), role.terms, at(0), Jitter::new(0.5));
        all.insert(role.name.clone(), Slot::new(role.clone(), state, Arc::default(), false).0);
    }
    let mut tokens = Tokens::default();
    for (name, token) in [("a", TOKEN), ("b", "of-b")] {
        let own = RoleTokens { current: Digest::of(token.as_bytes()), previous: Vec::new() };
        tokens.roles.insert(RoleName::parse(name).expect("a name"), own);
    }
    let slots = Arc::new(Slots::default());
    slots.publish(Table::new(all, &config, &tokens));
    let ctx = Arc::new(VendContext {
        slots,
        clock: StaticTimeSource::from_secs(DAWN).into(),
        metrics: Arc::new(Metrics::new().expect("metrics")),
        audit: Audit::off(),
        peers: Arc::default(),
    });
    let imds = |name: &str| {
        let imds =
            config.imds.values().find(|imds| imds.name.to_string() == name).expect("it is there");
        Protocol::Imds(ImdsEndpoint::new(imds, SessionKey::of(&[7; 32], name)))
    };
    let hosts = vec![[10, 0, 0, 1].into()];
    [Protocol::Token(hosts), imds("two"), imds("one")]
        .map(|protocol| Arc::new(Vend::new(ctx.clone(), protocol, 1)))
});

/// Answers the head at each endpoint. Credentials go to nobody without a token, and to no browser and no proxy.
pub fn request_head(bytes: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    if !matches!(parsed.parse(bytes), Ok(httparse::Status::Complete(_))) {
        return;
    }
    let mut request = Request::builder()
        .method(parsed.method.unwrap_or_default())
        .uri(parsed.path.unwrap_or_default());
    for header in parsed.headers.iter() {
        request = request.header(header.name, header.value);
    }
    let Ok(request) = request.body(()) else {
        return;
    };
    let has = |name: &str| request.headers().contains_key(name);
    let says = |name: &str, text: &[u8]| {
        let values = request.headers().get_all(name);
        values.iter().any(|value| value.as_bytes().windows(text.len()).any(|window| window == text))
    };
    let forwarded =
        has("origin") || has("forwarded") || has("x-forwarded-for") || has("sec-fetch-site");
    let foreign = says("host", b"evil.example");
    for (place, vend) in ENDPOINTS.iter().enumerate() {
        let (status, body) = answer(vend, &request);
        assert!([200, 400, 401, 403, 404, 405].contains(&status), "{status}");
        if forwarded || foreign {
            assert_eq!(status, 403, "{place}: {body}");
        }
        if body.contains(SECRET) {
            assert_eq!(status, 200);
            let allowed = match place {
                0 => says("authorization", TOKEN.as_bytes()) || says("authorization", b"of-b"),
                1 => has("x-aws-ec2-metadata-token"),
                _ => true,
            };
            assert!(allowed, "{place}: credentials without a token");
        }
    }
}

fn answer(vend: &Arc<Vend>, request: &Request<()>) -> (u16, String) {
    let connection = Connection {
        peer: ([127, 0, 0, 1], 40_000).into(),
        local: None,
        inherited: None,
        caller: Default::default(),
    };
    let reply = vend.respond(request.clone(), &Arc::new(connection));
    let reply = ready(reply).unwrap_or_else(|never| match never {});
    let status = reply.status().as_u16();
    let body = ready(reply.into_body().collect()).expect("it is in memory").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("answers are text"))
}

/// No role here is pending, so nothing waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an answer from memory waits"),
    }
}

/// The corpus holds a session token that the endpoint has issued.
#[test]
fn a_session_token_is_that_of_the_corpus() {
    let token =
        SessionKey::of(&[7; 32], "two").issue(std::time::UNIX_EPOCH + Duration::from_secs(DAWN), 21_600);
    let head = format!(
        "GET /latest/meta-data/iam/security-credentials/a HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n"
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/request_head/imds-session");
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), head);
    request_head(head.as_bytes());
}
