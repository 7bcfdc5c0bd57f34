//! What stood in the way to STS or back, in words. Pure.
//!
//! The SDK, its HTTP client and its TLS library each wrap the error of the one below, and their words are for those who
//! wrote them. Here the chain is read once and told by what an operator can check. The class does not depend on it.

use std::error::Error;
use std::io;

/// What went wrong between this host and STS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The name does not resolve; what the resolver said.
    Name(String),
    /// Nothing listens there, or something says so in its place.
    Refused,
    /// Nobody reacts to our packets.
    NoConnection,
    /// The kernel knows no way there.
    NoRoute(String),
    /// The certificate's issuer is not trusted here.
    Untrusted,
    /// The certificate has ended, or not begun.
    CertificateTime,
    /// The certificate is another host's.
    CertificateName,
    /// What answers speaks no TLS.
    NotTls,
    /// The TLS handshake failed in another way.
    Tls(String),
    /// The proxy would not pass us on.
    Proxy(String),
    /// The connection ended too early.
    CutOff,
    /// What answers speaks no HTTP.
    NotHttp,
    /// Its answer goes on for longer than any of STS.
    TooLong,
    /// Connected, and then nothing, or too slowly.
    NoAnswer,
    /// None of these: the innermost error.
    Other(String),
}

impl Obstacle {
    /// Reads a chain of errors.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let (mut chain, mut kind) = (Vec::new(), None);
        let mut next = Some(error);
        while let Some(error) = next {
            chain.push(error.to_string());
            kind = error.downcast_ref().map(io::Error::kind).or(kind);
            next = error.source();
        }
        let innermost = chain.last().cloned().unwrap_or_default();
        let all = chain.join(": ");
        let says = |words: &[&str]| words.iter().any(|word| all.contains(word));
        if says(&["dns error"]) {
            let said = innermost.rsplit(": ").next().unwrap_or_default();
            return Self::Name(said.to_owned());
        }
        if says(&["TLS handshake failed", "invalid peer certificate"]) {
            return match () {
                () if says(&["UnknownIssuer", "CaUsedAsEndEntity"]) => Self::Untrusted,
                () if says(&["certificate expired", "Expired", "not valid yet", "NotValidYet"]) => {
                    Self::CertificateTime
                }
                () if says(&["not valid for", "NotValidForName"]) => Self::CertificateName,
                () if says(&["InvalidContentType"]) => Self::NotTls,
                () => Self::Tls(innermost),
            };
        }
        if says(&["tunnel error", "proxy"]) {
            return Self::Proxy(innermost);
        }
        if says(&["length limit exceeded"]) {
            return Self::TooLong;
        }
        if says(&["connect timeout"]) {
            return Self::NoConnection;
        }
        match kind {
            Some(io::ErrorKind::ConnectionRefused) => Self::Refused,
            Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                Self::NoRoute(innermost)
            }
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => Self::CutOff,
            _ if says(&["connection closed", "end of file before"]) => Self::CutOff,
            _ if says(&["invalid HTTP"]) => Self::NotHttp,
            _ => Self::Other(innermost),
        }
    }

    /// What happened, with `endpoint` as its subject.
    pub fn what(&self, endpoint: &str) -> String {
        match self {
            Self::Name(said) => format!("the name of {endpoint} does not resolve: {said}"),
            Self::Refused => format!("{endpoint} refuses connections"),
            Self::NoConnection => format!("no connection to {endpoint} in time"),
            Self::NoRoute(said) => format!("{endpoint} cannot be reached: {said}"),
            Self::Untrusted => {
                format!("the certificate of {endpoint} is from an issuer that is not trusted here")
            }
            Self::CertificateTime => {
                format!("the certificate of {endpoint} has expired, or is not valid yet")
            }
            Self::CertificateName => format!("the certificate of {endpoint} is for another name"),
            Self::NotTls => format!("{endpoint} does not speak TLS"),
            Self::Tls(said) => format!("the TLS handshake with {endpoint} failed: {said}"),
            Self::Proxy(said) => format!("the proxy did not connect us to {endpoint}: {said}"),
            Self::CutOff => {
                format!("{endpoint} cut the connection off before its answer was whole")
            }
            Self::NotHttp => format!("{endpoint} does not speak HTTP"),
            Self::TooLong => format!("the answer of {endpoint} is longer than any of STS"),
            Self::NoAnswer => format!("no answer from {endpoint} in time"),
            Self::Other(said) => format!("{endpoint} could not be reached: {said}"),
        }
    }

    /// In the table of explanations.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Refused => "refused",
            Self::NoConnection => "no connection",
            Self::NoRoute(_) => "no route",
            Self::Untrusted => "untrusted",
            Self::CertificateTime => "certificate time",
            Self::CertificateName => "certificate name",
            Self::NotTls => "not tls",
            Self::Tls(_) => "tls",
            Self::Proxy(_) => "proxy",
            Self::CutOff => "cut off",
            Self::TooLong => "too long",
            Self::NotHttp => "not http",
            Self::NoAnswer => "no answer",
            Self::Other(_) => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Wrapped(#[source] io::Error);

    fn said(text: &str) -> Obstacle {
        Obstacle::of(&Wrapped(io::Error::other(text.to_owned())))
    }

    #[test]
    fn what_libraries_say_is_understood() {
        let cases = [
            (
                "dns error: failed to lookup address information: Name or service not known",
                Obstacle::Name("Name or service not known".to_owned()),
            ),
            ("TLS handshake failed: invalid peer certificate: UnknownIssuer", Obstacle::Untrusted),
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", Obstacle::Untrusted),
            (
                "invalid peer certificate: certificate expired: verification time 1",
                Obstacle::CertificateTime,
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 1",
                Obstacle::CertificateTime,
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"",
                Obstacle::CertificateName,
            ),
            (
                "TLS handshake failed: received corrupt message of type InvalidContentType",
                Obstacle::NotTls,
            ),
            ("HTTP connect timeout occurred after 1s: timed out", Obstacle::NoConnection),
            ("connection closed before message completed", Obstacle::CutOff),
            ("invalid HTTP version parsed", Obstacle::NotHttp),
            ("length limit exceeded", Obstacle::TooLong),
            ("something new", Obstacle::Other("something new".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_says_is_understood() {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionRefused, Obstacle::Refused),
            (io::ErrorKind::ConnectionReset, Obstacle::CutOff),
            (io::ErrorKind::BrokenPipe, Obstacle::CutOff),
            (io::ErrorKind::UnexpectedEof, Obstacle::CutOff),
        ] {
            assert_eq!(Obstacle::of(&Wrapped(kind.into())), expected);
        }
    }
}
