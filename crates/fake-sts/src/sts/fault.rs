//! What can be wrong with an answer, or with the absence of one.

use std::time::Duration;

/// One thing that goes wrong, once the decision to answer has been taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing: the right answer. For [`Script`]s that only delay, or that mix good answers into a queue.
    None,

    /// Accepted, then reset before a byte was read. Scripted for a role, it is a [`Fault::Reset`]: at accept nobody knows the role yet.
    ResetOnAccept,
    /// Accepted and never read from. Scripted for a role, it is a [`Fault::Hang`].
    HangOnAccept,

    /// The request is read, nothing is ever answered.
    Hang,
    /// The request is read, the connection reset.
    Reset,
    /// The request is read, the connection closed in good order.
    Close,
    /// Some of the head, then silence.
    HangMidHead,
    /// Some of the head, then closed.
    CloseMidHead,
    /// The head and half of the body, then silence.
    HangMidBody,
    /// The head and half of the body, then closed.
    CloseMidBody,
    /// The head and half of the body, then reset.
    ResetMidBody,
    /// The right answer, `chunk` bytes of body at a time.
    SlowBody {
        /// Bytes per tick.
        chunk: usize,
        /// The time between two ticks.
        every: Duration,
    },
    /// Bytes that are no HTTP.
    Garbage,
    /// `Content-Length` announces this many bytes more (or, negative, fewer) than follow; then closed.
    ContentLengthOff(i64),

    /// An HTML page with this status: a captive portal (200), a proxy's refusal (403, 407).
    Page {
        /// The HTTP status.
        status: u16,
    },
    /// Any status and body.
    Body {
        /// The HTTP status.
        status: u16,
        /// The value of `Content-Type`.
        content_type: &'static str,
        /// The body, verbatim.
        body: Vec<u8>,
    },
    /// A 200 with that many bytes that are no XML.
    HugeBody(usize),

    /// The right answer cut before this text, `Content-Length` to match: as XML unfinished, as HTTP whole.
    TruncatedBefore(&'static str),
    /// The right answer cut in the middle of this field's value.
    TruncatedWithin(Field),
    /// The right answer without this element.
    Missing(Field),
    /// The right answer with this element empty.
    Empty(Field),
    /// The right answer with another `Expiration`.
    Expires(Expiry),
    /// The right answer with a session token of so many bytes. AWS: at most 4096, and may grow.
    TokenOfBytes(usize),

    /// An error in one of the forms in which services send them.
    Error {
        /// The HTTP status; 200 is possible, and has been seen.
        status: u16,
        /// The error code of AWS.
        code: String,
        /// The text. `{caller}` and `{role}` become the caller's and the role's ARN.
        message: String,
        /// How it is written down.
        form: ErrorForm,
    },
}

impl Fault {
    /// An error as AWS STS writes it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::error_in(ErrorForm::Namespaced, status, code, message)
    }

    /// An error in another form than AWS's own.
    pub fn error_in(form: ErrorForm, status: u16, code: &str, message: &str) -> Self {
        Self::Error { status, code: code.to_owned(), message: message.to_owned(), form }
    }

    /// AWS's refusal without a tail, which is all that it says across accounts.
    pub fn access_denied() -> Self {
        Self::error(
            403,
            "AccessDenied",
            "User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role}",
        )
    }

    /// The answer of STS when the account is over its request rate.
    pub fn throttled() -> Self {
        Self::error(400, "Throttling", "Rate exceeded")
    }

    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self::Body { status, content_type: "text/plain", body: Vec::new() }
    }

    /// Delays the answer, as [`Script::after`] does.
    pub fn after(self, latency: Duration) -> Script {
        Script::from(self).after(latency)
    }

    /// Shifts the `Date` header, as [`Script::dated`] does.
    pub fn dated(self, shift_seconds: i64) -> Script {
        Script::from(self).dated(shift_seconds)
    }

    /// Adds a header, as [`Script::header`] does.
    pub fn header(self, name: &str, value: &str) -> Script {
        Script::from(self).header(name, value)
    }

    /// Happens before a request is read.
    pub(super) fn is_at_accept(&self) -> bool {
        matches!(self, Self::ResetOnAccept | Self::HangOnAccept)
    }

    /// For the log of requests.
    pub(super) fn label(&self) -> String {
        match self {
            Self::None => "ok".to_owned(),
            Self::Error { status, code, .. } => format!("{status} {code}"),
            Self::Body { status, body, .. } => format!("{status} with {} bytes", body.len()),
            _ => format!("{self:?}"),
        }
    }
}

/// The four fields of `<Credentials>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The element `<AccessKeyId>`.
    AccessKeyId,
    /// The element `<SecretAccessKey>`.
    SecretAccessKey,
    /// The element `<SessionToken>`.
    SessionToken,
    /// The element `<Expiration>`.
    Expiration,
}

impl Field {
    /// All four, in the order in which AWS sends them.
    pub const ALL: [Self; 4] =
        [Self::AccessKeyId, Self::SecretAccessKey, Self::SessionToken, Self::Expiration];

    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessKeyId => "AccessKeyId",
            Self::SecretAccessKey => "SecretAccessKey",
            Self::SessionToken => "SessionToken",
            Self::Expiration => "Expiration",
        }
    }
}

/// How an `Expiration` differs from `now + DurationSeconds`, to the second, in UTC with a `Z`.
#[derive(Clone, Debug, PartialEq)]
pub enum Expiry {
    /// So many seconds from now, whatever was asked; negative is the past.
    In(i64),
    /// The right instant with so many digits after the second: 3, 6 (moto) or 9 (Ceph).
    Fraction(u8),
    /// The right instant, written with this offset from UTC in hours, such as `+02:00`.
    Offset(i8),
    /// This text, verbatim.
    Text(&'static str),
}

/// How an error is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorForm {
    /// `<ErrorResponse xmlns=…><Error>`: AWS STS.
    Namespaced,
    /// `<Error><Code>`: Ceph RGW, and some proxies. The SDK finds no code in it.
    Bare,
    /// `{"__type":…,"message":…}`: gateways that speak the JSON protocols.
    Json,
}

/// A fault with what goes along with any answer: a delay, a shifted `Date`, more headers.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub(super) fault: Fault,
    pub(super) latency: Duration,
    pub(super) date_shift_seconds: i64,
    pub(super) headers: Vec<(String, String)>,
}

impl Script {
    /// The right answer.
    pub fn ok() -> Self {
        Self::from(Fault::None)
    }

    /// Answers only after this long; the request is recorded when it arrives.
    pub fn after(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Shifts the `Date` header, and nothing else. For a service whose whole clock is off, see `FakeSts::shift_clock`.
    pub fn dated(mut self, shift_seconds: i64) -> Self {
        self.date_shift_seconds = shift_seconds;
        self
    }

    /// Adds a header to the answer: `Retry-After` (seconds), `x-amz-retry-after` (milliseconds).
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The fault of this answer.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl From<Fault> for Script {
    fn from(fault: Fault) -> Self {
        Self { fault, latency: Duration::ZERO, date_shift_seconds: 0, headers: Vec::new() }
    }
}
