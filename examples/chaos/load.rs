//! The load: workloads that ask rightly, wrongly, slowly, in floods, and break off.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::World;
use crate::client::{Answer, Connection};
use crate::judge::{Ask, Expect};
use crate::pause;

/// hyper closes what is idle for 5 s.
const IDLE: Duration = Duration::from_millis(4_500);

/// Asks all the time, over a connection that is kept while it can be.
pub(crate) fn worker(world: &Arc<World>, number: u64, per_second: f64) {
    let mut random = Rng::with_seed(world.seed.wrapping_mul(31).wrapping_add(number));
    let mut kept: Option<Connection> = None;
    let mut due = Instant::now();
    while !world.over() {
        if world.held() {
            kept = None;
            pause(Duration::from_millis(20));
            due = Instant::now();
            continue;
        }
        due += Duration::from_secs_f64(1.0 / per_second);
        match due.checked_duration_since(Instant::now()) {
            Some(early) => pause(early),
            None if due.elapsed() > Duration::from_millis(200) => due = Instant::now(),
            None => {}
        }
        if random.u32(..400) == 0 {
            break_off(world, &mut random);
            continue;
        }
        if random.u32(..60) == 0 {
            kept = None;
        }
        let ask = compose(world, &mut random);
        kept = exchange(world, &ask, kept);
    }
}

/// Sends, reads, judges; gives the connection back if it may be used again.
fn exchange(world: &World, ask: &Ask, kept: Option<Connection>) -> Option<Connection> {
    let oracle = &world.oracle;
    let mut connection = match kept {
        Some(kept) => kept,
        None => match Connection::to(world.vend) {
            Ok(connection) => connection,
            Err(error) => {
                // A restart is no excuse: the socket is there all the while.
                if oracle.flooded(&ask.before) {
                    oracle.count("connection lost in a flood");
                    pause(Duration::from_millis(20));
                } else {
                    oracle.violation(&format!("no connection for {}: {error}", ask.what));
                }
                return None;
            }
        },
    };
    let reused = connection.is_used;
    let idle = connection.used_at.elapsed();
    let answered =
        connection.send(ask.text.as_bytes()).and_then(|()| connection.answer(ask.is_head));
    match answered {
        Ok(answer) => {
            world.judge(ask, reused, &answer);
            let closes = |answer: &Answer| {
                answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            };
            (!closes(&answer) && !ask.text.contains("Connection: close")).then_some(connection)
        }
        Err(_) if !oracle.same_process(&ask.before) => {
            oracle.count("connection cut during a restart");
            None
        }
        Err(_) if reused && idle > IDLE => {
            oracle.count("connection closed for idling");
            None
        }
        Err(_) if !reused && oracle.flooded(&ask.before) => {
            oracle.count("connection lost in a flood");
            None
        }
        Err(error) => {
            oracle.violation(&format!(
                "no answer to {} of {}: {error} ({} connection, idle {idle:?})",
                ask.what,
                oracle.roles[ask.role].name,
                if reused { "kept" } else { "new" },
            ));
            None
        }
    }
}

fn compose(world: &World, random: &mut Rng) -> Ask {
    let oracle = &world.oracle;
    let roles = &oracle.roles;
    let role = random.usize(..roles.len());
    let before = oracle.before(role);
    let path = format!("/v1/credentials/{}", roles[role].name);
    let own = before.facts.token.to_string();
    let guess = || -> String { (0..43).map(|_| fastrand::alphanumeric()).collect() };
    // A token that is good whatever is reloaded.
    let other = |random: &mut Rng| loop {
        let other = random.usize(..roles.len());
        if other != role && roles[other].permanent {
            return roles[other].facts().token.to_string();
        }
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let raw = |token: &str| format!("Authorization: {token}\r\n");
    let credentials = Expect::Credentials;
    let forbidden = Expect::Refusal(403, "Forbidden");
    let unauthorized = Expect::Refusal(401, "Unauthorized");
    let mut host = format!("Host: {}\r\n", world.vend);
    let (mut method, mut target, mut is_head) = ("GET", path, false);
    let (what, headers, expect) = match random.u32(..1000) {
        0..=39 => {
            let previous = random.choice(&before.facts.previous_tokens);
            let token = previous.map_or(own, ToString::to_string);
            ("a GET with a replaced token", raw(&token), credentials)
        }
        40..=69 => {
            (method, is_head) = ("HEAD", true);
            ("a HEAD", raw(&own), credentials)
        }
        70..=89 => {
            let token = other(random);
            ("a GET with another role's token", raw(&token), Expect::Refusal(404, "RoleNotFound"))
        }
        90..=109 => ("a GET with a wrong token", raw(&guess()), unauthorized),
        110..=119 => ("a GET without a token", String::new(), unauthorized),
        120..=129 => {
            "/v1/credentials/nobody".clone_into(&mut target);
            let token = other(random);
            ("a GET of an unknown role", bearer(&token), Expect::Refusal(404, "RoleNotFound"))
        }
        130..=139 => {
            "/latest/meta-data/".clone_into(&mut target);
            ("a GET of an unknown path", raw(&own), Expect::Refusal(404, "NotFound"))
        }
        140..=149 => {
            method = "DELETE";
            ("a DELETE", raw(&own), Expect::Refusal(405, "MethodNotAllowed"))
        }
        150..=154 => {
            "Host: evil.example\r\n".clone_into(&mut host);
            ("a GET of a foreign host", raw(&own), forbidden)
        }
        155..=159 => {
            let headers = format!("{}X-Forwarded-For: 10.0.0.1\r\n", raw(&own));
            ("a forwarded GET", headers, forbidden)
        }
        160..=164 => {
            let headers = format!("{}Origin: http://localhost\r\n", raw(&own));
            ("a browser's GET", headers, forbidden)
        }
        165..=169 => {
            let headers = format!("{}Connection: close\r\n", bearer(&own));
            ("a last GET", headers, credentials)
        }
        number if number % 2 == 0 => ("a GET with Bearer", bearer(&own), credentials),
        _ => ("a GET", raw(&own), credentials),
    };
    Ask {
        role,
        before,
        text: format!("{method} {target} HTTP/1.1\r\n{host}{headers}\r\n"),
        what,
        is_head,
        expect,
    }
}

/// A client that goes away: in the middle of its request, or before it has read the answer.
fn break_off(world: &World, random: &mut Rng) {
    let ask = compose(world, random);
    if let Ok(mut connection) = Connection::to(world.vend) {
        let sent = random.usize(..=ask.text.len());
        let _ = connection.send(&ask.text.as_bytes()[..sent]);
        world.oracle.count("connection broken off");
    }
}

/// Clients that send a byte now and then: each is told so, or closed, in good time.
pub(crate) fn slowly(world: &Arc<World>, number: u64) {
    let mut random = Rng::with_seed(world.seed ^ number);
    while !world.over() {
        if world.held() {
            pause(Duration::from_millis(20));
            continue;
        }
        let ask = compose(world, &mut random);
        let Ok(mut connection) = Connection::to(world.vend) else {
            pause(Duration::from_millis(50));
            continue;
        };
        let begun = Instant::now();
        let some = random.usize(1..ask.text.len() - 2);
        for byte in ask.text.as_bytes()[..some].chunks(some / 8 + 1) {
            if connection.send(byte).is_err() || world.held() {
                break;
            }
            pause(Duration::from_millis(200));
        }
        if world.held() {
            continue;
        }
        let told = connection.rest();
        let took = begun.elapsed();
        let oracle = &world.oracle;
        match told {
            Ok(bytes) if bytes.starts_with(b"HTTP/1.1 408 ") => {
                oracle.count("answer 408 RequestTimeout");
            }
            _ if !oracle.same_process(&ask.before) || oracle.flooded(&ask.before) => {}
            Ok(bytes) => oracle.violation(&format!(
                "408 was due to half a request, after {took:?} came {} bytes",
                bytes.len()
            )),
            Err(error) => oracle.violation(&format!(
                "half a request got neither an answer nor a close in {took:?}: {error}"
            )),
        }
    }
}

/// More connections than the daemon takes, which say nothing.
pub(crate) fn floods(world: &Arc<World>, connections: usize) {
    let mut random = Rng::with_seed(world.seed ^ 0xF100D);
    while !world.over() {
        pause(Duration::from_millis(100));
        if world.held() || random.u32(..60) != 0 {
            continue;
        }
        let oracle = &world.oracle;
        oracle.floods.fetch_add(1, Ordering::SeqCst);
        let flood: Vec<TcpStream> = (0..connections)
            .map_while(|_| TcpStream::connect_timeout(&world.vend, Duration::from_secs(1)).ok())
            .collect();
        oracle.count("flood of connections");
        pause(Duration::from_millis(random.u64(200..2000)));
        drop(flood);
        // Those that waited behind the flood are taken now.
        pause(Duration::from_millis(300));
        oracle.floods.fetch_add(1, Ordering::SeqCst);
    }
}
