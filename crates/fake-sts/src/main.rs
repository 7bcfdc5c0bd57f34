//! The fake STS of the tests as a process of its own, for hosts that are set up by hand or by a script.
//!
//! `cargo run --package fake-sts -- 127.0.0.1:7070 [ROLE-ARN…]` issues sessions to everybody, but denies those roles, and
//! prints a line for every request: when it came, what was asked for which role, what was answered. Nothing secret is in
//! it. It ends with a signal.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for scripts, which read what it prints"
)]

use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use fake_sts::FakeSts;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("fake-sts ADDRESS:PORT [ROLE-ARN…]")?;
    let sts = FakeSts::start_at(address.parse()?);
    for arn in arguments {
        sts.role(&arn).deny();
    }
    println!("listening on {address}");
    loop {
        // Whoever reads this looks at it later.
        std::thread::sleep(Duration::from_millis(20));
        for request in sts.take_requests() {
            println!(
                "{:.3} {} {} {}",
                request.wall.duration_since(UNIX_EPOCH)?.as_secs_f64(),
                request.action,
                request.role_arn.as_deref().unwrap_or("-"),
                request.answered
            );
        }
    }
}
