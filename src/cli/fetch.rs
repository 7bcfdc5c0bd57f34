//! One request to the running daemon.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::{ExitStatus, Failure};
use roletap_core::config::Config;
use roletap_core::failure::error_chain;

/// A daemon that takes longer has no answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// `/roles` of ten thousand roles has about 8 MB.
const BODY_LIMIT: usize = 64 << 20;

/// An answer of the daemon.
#[derive(Debug)]
pub struct DaemonResponse {
    /// The HTTP status of the answer.
    pub status: u16,
    /// The body; it may hold credentials.
    pub body: Zeroizing<Vec<u8>>,
}

impl DaemonResponse {
    /// Parses the body as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Failure::unavailable("the answer is not JSON: is something else listening there?")
        })
    }

    /// Returns a text of the JSON object that a refusal has as its body.
    pub fn text(&self, key: &str) -> Option<String> {
        Some(self.json().ok()?[key].as_str()?.to_owned())
    }

    /// As a failure, in the daemon's own words.
    pub fn failure(&self, doing: &str) -> Failure {
        let message = self.text("message");
        let message = message.as_deref().unwrap_or("an answer without a message");
        let status = match self.status {
            401 | 403 => ExitStatus::NotPermitted,
            _ => ExitStatus::Unavailable,
        };
        Failure::new(status, format!("{doing}: HTTP {}: {message}", self.status))
    }
}

/// Asks the admin endpoint.
pub fn ask_admin(config: &Config, method: &str, path: &str) -> Result<DaemonResponse, Failure> {
    let Some(address) = config.admin.listen.first() else {
        return Err(Failure::config("the admin endpoint is turned off: set `admin.listen`"));
    };
    fetch(method, &format!("http://{address}{path}"), None)
}

/// Asks `url`, which names an address, with this token; never through a proxy.
pub fn fetch(method: &str, url: &str, token: Option<&str>) -> Result<DaemonResponse, Failure> {
    fetch_with(method, url, authorization(token).as_slice())
}

/// The header that shows a token.
pub fn authorization(token: Option<&str>) -> Option<(&'static str, &str)> {
    token.map(|token| (header::AUTHORIZATION.as_str(), token))
}

/// Asks whether `url` has credentials without taking them: whoever takes some is missed when they have expired
/// (`roletap_stale_consumers`). Only a refusal has a body.
pub fn fetch_nothing(url: &str, headers: &[(&str, &str)]) -> Result<DaemonResponse, Failure> {
    match fetch_with("HEAD", url, headers)? {
        answer @ DaemonResponse { status: 200, .. } => Ok(answer),
        _ => fetch_with("GET", url, headers),
    }
}

/// The same with any headers.
pub fn fetch_with(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
) -> Result<DaemonResponse, Failure> {
    block_on(async {
        let asked = tokio::time::timeout(TIMEOUT, ask(method, url, headers)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()).into()))
    })?
    .map_err(|error| {
        let hint = "is the daemon running, with this configuration?";
        Failure::unavailable(format!("cannot ask {url}: {}; {hint}", error_chain(error.as_ref())))
    })
}

/// Blocks this thread for the length of `pause`.
pub fn pause(pause: Duration) {
    let _ = block_on(async { tokio::time::sleep(pause).await });
}

type FetchError = Box<dyn std::error::Error + Send + Sync>;

async fn ask(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
) -> Result<DaemonResponse, FetchError> {
    let mut request =
        Request::builder().method(method).uri(url).header(header::CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Empty::<Bytes>::new())?;
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let address: SocketAddr = host.parse()?;
    request.headers_mut().insert(header::HOST, host.parse()?);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
    *request.uri_mut() = path;
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await?;
        Ok(DaemonResponse { status, body: Zeroizing::new(body.to_bytes().to_vec()) })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // A connection that has ended has handed over what it received.
        _ = connection => exchange.await,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(super::runtime()?.block_on(future))
}
