//! The fake STS of the tests, as a process of its own: what it costs must not count as the daemon's.
//!
//! `sts LATENCY_MS` prints its URL, and ends when its standard input does.

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use fake_sts::{FakeSts, Script};

fn main() -> Result<(), Box<dyn Error>> {
    let latency = std::env::args().nth(1).ok_or("sts LATENCY_MS")?.parse()?;
    let sts = FakeSts::start();
    sts.any()
        .always(Script::ok().after(Duration::from_millis(latency)));
    println!("{}", sts.endpoint_url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
