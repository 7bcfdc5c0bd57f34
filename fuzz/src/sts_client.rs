//! Answers of STS through the SDK: its own parser, roletap's classes, and what is shown of a failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_async::time::StaticTimeSource;
use roletap::clock::Skew;
use roletap::metrics::Metrics;
use roletap::sts::Client;
use roletap_core::config::{Config, ConfigFile, FixedHost};
use roletap_core::failure::IssueError;
use roletap_core::failure::explain::advice;
use roletap_core::fixtures::DAWN;
use roletap_core::role::Role;
use tokio::runtime::Runtime;

use crate::assert_plain;

const EXTERNAL_ID: &str = "sentinel-4711";
const STATUSES: [u16; 8] = [200, 200, 400, 403, 404, 429, 500, 503];

/// The status and the body of the next answer.
static ANSWER: Mutex<(u16, Vec<u8>)> = Mutex::new((200, Vec::new()));

struct Caller {
    runtime: Runtime,
    client: Arc<Client>,
    role: Arc<Role>,
}

static CALLER: LazyLock<Caller> = LazyLock::new(|| {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    let config = configuration(address);
    Caller {
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime"),
        client: Client::new(
            &config.sts,
            StaticTimeSource::from_secs(DAWN).into(),
            Arc::new(Skew::default()),
            Arc::new(Metrics::new().expect("metrics")),
        ),
        role: config.roles.into_values().next().expect("a role"),
    }
});

fn configuration(address: SocketAddr) -> Config {
    let text = format!(
        "[sts]\nregion = \"eu-central-1\"\nendpoint_url = \"http://{address}\"\n\
         [role.a]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\nexternal_id = \"{EXTERNAL_ID}\"\n"
    );
    Config::parse(vec![ConfigFile::text("roletap.toml", text)], &FixedHost::default())
        .unwrap_or_else(|report| panic!("{report}"))
        .config
}

/// Answers every request of a connection with [`ANSWER`].
fn serve(stream: TcpStream) {
    std::thread::spawn(move || -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut read, mut write) = (BufReader::new(stream.try_clone()?), stream);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if read.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line.trim().is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
            read.read_exact(&mut vec![0; length])?;
            let (status, body) = &*ANSWER.lock().unwrap_or_else(PoisonError::into_inner);
            let head = format!(
                "HTTP/1.1 {status} As Scripted\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            write.write_all(&[head.as_bytes(), body].concat())?;
        }
    });
}

/// The first byte chooses the status, the rest is the body. Asks for a role, and who is asking.
pub fn sts_client(bytes: &[u8]) {
    let (kind, body) = bytes.split_first().unwrap_or((&0, &[]));
    let status = STATUSES[usize::from(*kind) % STATUSES.len()];
    *ANSWER.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.to_vec());
    let Caller { runtime, client, role } = &*CALLER;
    let base = Credentials::new("AKIDEXAMPLE", "mocksecret-of-the-base", None, None, "fuzz");
    let assumed = runtime.block_on(client.assume_role(role, base.clone(), 3600));
    match assumed {
        Ok(held) => {
            let read: serde_json::Value =
                serde_json::from_slice(&held.document()).expect("a document is JSON");
            assert!(read["Token"].as_str().is_some_and(|token| !token.is_empty()));
        }
        Err(failure) => {
            shown(role, &failure);
            // GetCallerIdentity sends none, so it redacts none.
            assert!(!failure.message.contains(EXTERNAL_ID), "{}", failure.message);
        }
    }
    if let Err(failure) = runtime.block_on(client.get_caller_identity(base, Duration::from_secs(5)))
    {
        shown(role, &failure);
    }
}

fn shown(role: &Role, failure: &IssueError) {
    let advice = advice(role, failure);
    let said = [&failure.aws_message, &failure.code, &failure.request_id]
        .map(|text| text.as_deref().unwrap_or(""));
    for text in said.into_iter().chain([failure.message.as_str(), &advice.to_string()]) {
        assert_plain(text, "what is shown of a failure");
        assert!(!text.contains("mocksecret"), "{text}");
    }
}
