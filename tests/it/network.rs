//! x
use std::time::Duration;
use crate::support::harness::{Daemon, PATIENCE, Setup, arn, with};
use crate::support::sts::{FakeSts, Fault};
use crate::support::tls::{Authority, Flaw, TlsFront};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

#[test]
fn explore() {
    let sts = FakeSts::start();
    let ca = Authority::new();
    let go = |what: &str, url: &str, fault: Option<Fault>| {
        let sts = FakeSts::start();
        if let Some(f) = fault { sts.any().always(f); }
        let url = if url.is_empty() { sts.endpoint_url() } else { url.to_owned() };
        let d = with(&sts).endpoint(&url).sts("attempt_timeout = \"2s\"\nconnect_timeout = \"1s\"").role("orders").env("RES_OPTIONS", "timeout:1 attempts:1").start();
        let r = d.role_when("orders", "fails", |r| !r["last_error"].is_null());
        println!("## {what}: {} {}\n   {}\n   {}", r["last_error"]["class"], r["last_error"]["http_status"], r["last_error"]["message"], r["last_error"]["advice"]);
    };
    let f1 = TlsFront::start(&ca, Flaw::None, sts.address());
    let f2 = TlsFront::start(&ca, Flaw::Expired, sts.address());
    let f3 = TlsFront::start(&ca, Flaw::OtherName, sts.address());
    go("untrusted", &f1.url(), None);
    go("expired", &f2.url(), None);
    go("name", &f3.url(), None);
    go("plain", &format!("https://{}", sts.address()), None);
    go("dns", "http://sts.roletap.invalid", None);
    go("refused", "http://127.0.0.1:1", None);
    for f in [Fault::ResetOnAccept, Fault::HangOnAccept, Fault::Hang, Fault::Reset, Fault::Close, Fault::HangMidHead, Fault::CloseMidHead, Fault::HangMidBody, Fault::CloseMidBody, Fault::ResetMidBody, Fault::SlowBody{chunk:1, every: Duration::from_secs(1)}, Fault::Garbage, Fault::ContentLengthOff(100), Fault::ContentLengthOff(-700), Fault::Page{status:200}, Fault::Page{status:403}, Fault::Page{status:407}, Fault::status(503), Fault::status(200)] {
        go(&format!("{f:?}"), "", Some(f));
    }
    // backlog
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _g = rt.enter();
    let s = tokio::net::TcpSocket::new_v4().unwrap();
    s.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let l = s.listen(1).unwrap();
    let a = l.local_addr().unwrap();
    let mut held = vec![];
    for i in 0..10 { match TcpStream::connect_timeout(&a, Duration::from_millis(300)) { Ok(c) => held.push(c), Err(e) => { println!("full after {i}: {e}"); break } } }
    go("backlog", &format!("http://{a}"), None);
    go("backlog tls", &format!("https://{a}"), None);
    panic!();
}
