//! One HTTP/1.1 request off a socket, and what STS reads in it.

use std::io;
use std::time::{Instant, SystemTime};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Generous: a session policy, fifty tags and a 12 kB token fit several times.
const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 1024 * 1024;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it was read whole, for distances between requests.
    pub at: Instant,
    /// The same by the wall clock of this host, which scripts do not shift.
    pub wall: SystemTime,
    /// The request line's path.
    pub path: String,
    /// `Action`, or empty.
    pub action: String,
    /// The parameter `RoleArn`.
    pub role_arn: Option<String>,
    /// The parameter `RoleSessionName`.
    pub session_name: Option<String>,
    /// The parameter `DurationSeconds`.
    pub duration_seconds: Option<u32>,
    /// The parameter `ExternalId`.
    pub external_id: Option<String>,
    /// `Tags`, in the order sent.
    pub tags: Vec<(String, String)>,
    /// `TransitiveTagKeys`, in the order sent.
    pub transitive_tag_keys: Vec<String>,
    /// The parameter `Policy`.
    pub policy: Option<String>,
    /// `PolicyArns`, in the order sent.
    pub policy_arns: Vec<String>,
    /// The parameter `SourceIdentity`.
    pub source_identity: Option<String>,
    /// The parameter `WebIdentityToken`.
    pub web_identity_token: Option<String>,
    /// The signer, where the request is signed.
    pub access_key_id: Option<String>,
    /// The region in the signature's scope.
    pub region: Option<String>,
    /// The service in the signature's scope.
    pub service: Option<String>,
    /// The header `X-Amz-Date`, verbatim.
    pub signed_date: Option<String>,
    /// `X-Amz-Security-Token`: the signer holds temporary credentials.
    pub security_token: Option<String>,
    /// The parameter `ProviderId`.
    pub provider_id: Option<String>,
    /// The parameter `MinimumSessionTokenSize`.
    pub minimum_session_token_size: Option<u32>,
    /// The form, as it was sent.
    pub body: Vec<u8>,
    /// All headers, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The decision: `ok`, a status and code, or the fault.
    pub answered: String,
    /// The connection that it came over, counted from 1.
    pub connection: u64,
}

impl Received {
    /// A header's first value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// One line for a failed wait. No secrets: it ends up in test logs.
    pub fn summary(&self) -> String {
        format!(
            "{} {} in {} as {} by {} over #{}: {}",
            self.action,
            self.role_arn.as_deref().unwrap_or("-"),
            self.region.as_deref().unwrap_or("-"),
            self.session_name.as_deref().unwrap_or("-"),
            self.access_key_id.as_deref().unwrap_or("nobody"),
            self.connection,
            self.answered,
        )
    }

    pub(super) fn from_http(http: HttpRequest, connection: u64) -> Self {
        let form = form_fields(&http.body);
        let field =
            |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let list = |prefix: &str, suffix: &str| -> Vec<String> {
            (1..).map_while(|n| field(&format!("{prefix}.member.{n}{suffix}"))).collect()
        };
        let signature = header(&http.headers, "authorization").and_then(Signature::parse);
        let signature = signature.as_ref();
        Self {
            at: Instant::now(),
            wall: SystemTime::now(),
            path: http.path,
            action: field("Action").unwrap_or_default(),
            role_arn: field("RoleArn"),
            session_name: field("RoleSessionName"),
            duration_seconds: field("DurationSeconds").and_then(|text| text.parse().ok()),
            external_id: field("ExternalId"),
            tags: list("Tags", ".Key")
                .into_iter()
                .enumerate()
                .map(|(n, key)| {
                    (key, field(&format!("Tags.member.{}.Value", n + 1)).unwrap_or_default())
                })
                .collect(),
            transitive_tag_keys: list("TransitiveTagKeys", ""),
            policy: field("Policy"),
            policy_arns: list("PolicyArns", ".arn"),
            source_identity: field("SourceIdentity"),
            web_identity_token: field("WebIdentityToken"),
            access_key_id: signature.map(|signature| signature.access_key_id.clone()),
            region: signature.map(|signature| signature.region.clone()),
            service: signature.map(|signature| signature.service.clone()),
            signed_date: header(&http.headers, "x-amz-date").map(str::to_owned),
            security_token: header(&http.headers, "x-amz-security-token").map(str::to_owned),
            provider_id: field("ProviderId"),
            minimum_session_token_size: field("MinimumSessionTokenSize")
                .and_then(|text| text.parse().ok()),
            body: http.body,
            headers: http.headers,
            answered: String::new(),
            connection,
        }
    }
}

pub(super) struct HttpRequest {
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The client wants the connection kept.
    pub(super) keep_alive: bool,
}

/// Reads one request; `None` when the client has nothing more to ask. `buffer` carries what was read too far.
pub(super) async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<HttpRequest>> {
    let head_length = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > HEAD_LIMIT {
            return Err(io::Error::other("request head too large"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_length]).into_owned();
    let mut lines = head.split("\r\n");
    let request_line = lines.next().unwrap_or_default();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    if header(&headers, "transfer-encoding").is_some() {
        return Err(io::Error::other("no client of STS sends chunked bodies"));
    }
    let body_length =
        header(&headers, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    if body_length > BODY_LIMIT {
        return Err(io::Error::other("request body too large"));
    }
    while buffer.len() < head_length + body_length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let wants_close = header(&headers, "connection")
        .is_some_and(|value| value.to_ascii_lowercase().contains("close"));
    let keep_alive = request_line.ends_with("HTTP/1.1") && !wants_close;
    let mut message: Vec<u8> = buffer.drain(..head_length + body_length).collect();
    let body = message.split_off(head_length);
    let path = request_line.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Some(HttpRequest { path, headers, body, keep_alive }))
}

/// The parts of a SigV4 `Authorization` that STS looks at before it computes anything.
struct Signature {
    access_key_id: String,
    region: String,
    service: String,
}

impl Signature {
    fn parse(authorization: &str) -> Option<Self> {
        let parameters = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let credential =
            parameters.split(',').find_map(|part| part.trim().strip_prefix("Credential="))?;
        let mut scope = credential.split('/');
        let access_key_id = scope.next()?.to_owned();
        let _date = scope.next()?;
        let region = scope.next()?.to_owned();
        let service = scope.next()?.to_owned();
        (scope.next()? == "aws4_request").then_some(Self { access_key_id, region, service })
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn form_fields(body: &[u8]) -> Vec<(String, String)> {
    String::from_utf8_lossy(body)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (form_decoded(key), form_decoded(value)))
        .collect()
}

fn form_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', None) => decoded.push(b' '),
            (byte, None) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
