//! A serial client in a closed loop: the next request leaves when the last answer is complete.
//!
//! `client PORT PATH TOKEN_FILE fresh|keep-alive COUNT` prints one line: p50, p99 and mean in nanoseconds. Any answer but
//! a complete 200 ends it with an error.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

const USAGE: &str = "client PORT PATH TOKEN_FILE fresh|keep-alive COUNT";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, path, token_file, mode, count] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let (port, count): (u16, usize) = (port.parse()?, count.parse()?);
    let token = std::fs::read_to_string(token_file)?;
    let fresh = match mode.as_str() {
        "fresh" => true,
        "keep-alive" => false,
        _ => return Err(USAGE.into()),
    };
    let close = if fresh { "connection: close\r\n" } else { "" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: roletap-benches\r\naccept: application/json\r\n\
         authorization: {}\r\n{close}\r\n",
        token.trim()
    );
    let mut open = None;
    let mut buffer = vec![0; 32 * 1024];
    // The first tenth warms caches and is not counted.
    let warm_up = count / 10;
    let mut took = Vec::with_capacity(count);
    for number in 0..count + warm_up {
        let started = Instant::now();
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => TcpStream::connect(("127.0.0.1", port))?,
        };
        stream.write_all(request.as_bytes())?;
        receive(&mut stream, &mut buffer)?;
        let elapsed = started.elapsed();
        if number >= warm_up {
            took.push(u64::try_from(elapsed.as_nanos())?);
        }
        if !fresh {
            open = Some(stream);
        }
    }
    took.sort_unstable();
    let quantile = |hundredths: usize| took[(took.len() * hundredths / 100).min(took.len() - 1)];
    let mean = took.iter().sum::<u64>() / u64::try_from(took.len())?;
    println!("{} {} {mean}", quantile(50), quantile(99));
    Ok(())
}

fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<(), Box<dyn Error>> {
    let mut received = 0;
    let mut expected = None;
    while expected.is_none_or(|expected| received < expected) {
        let read = stream.read(&mut buffer[received..])?;
        if read == 0 {
            return Err("the answer ended early".into());
        }
        received += read;
        if expected.is_none() {
            expected = length(&buffer[..received])?;
        }
    }
    Ok(())
}

/// Of the whole answer, once its head is there.
fn length(received: &[u8]) -> Result<Option<usize>, Box<dyn Error>> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&received[..end])?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.lines().next().unwrap_or_default().into());
    }
    let body = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .ok_or("no content-length")?;
    Ok(Some(end + 4 + body.parse::<usize>()?))
}
