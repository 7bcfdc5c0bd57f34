//! Failures on the way to an endpoint or back, named by what an operator can check. Pure.
//!
//! The SDK, its HTTP client and its TLS library each wrap the error of the layer below.
//! [`TransportError::classify`] reads that chain once. The class of the failure does not depend on
//! it.

use std::error::Error;
use std::io;

use serde::{Deserialize, Serialize};

/// An obstacle on the network between this host and an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransportError {
    /// The answer is longer than any answer of STS.
    BodyTooLong,
    /// The certificate is valid for another name only.
    CertificateNameMismatch,
    /// The certificate has expired, or is not valid yet.
    CertificateNotCurrent,
    /// No connection was opened within the connect timeout.
    ConnectTimeout,
    /// The connection was refused: no program listens there, or a firewall refuses it.
    ConnectionRefused,
    /// The connection was closed before the answer was complete.
    ConnectionReset,
    /// The name of the endpoint does not resolve.
    DnsFailure,
    /// The answer is not HTTP.
    NotHttp,
    /// The answer is not TLS.
    NotTls,
    /// An obstacle on the network that is none of the others.
    Other,
    /// The proxy did not open a tunnel.
    ProxyRefused,
    /// No complete answer came within the attempt timeout.
    ResponseTimeout,
    /// The TLS handshake failed for a reason without a variant of its own.
    TlsHandshake,
    /// This host has no route to the endpoint.
    Unreachable,
    /// This host does not trust the issuer of the certificate.
    UntrustedCertificate,
}

impl TransportError {
    /// Reads a chain of errors. Returns the obstacle and the text of the innermost error.
    pub fn classify(error: &(dyn Error + 'static)) -> (Self, String) {
        let (mut chain, mut kind) = (Vec::new(), None);
        let mut next = Some(error);
        while let Some(error) = next {
            chain.push(error.to_string());
            kind = error.downcast_ref().map(io::Error::kind).or(kind);
            next = error.source();
        }
        let all = chain.join(": ");
        let innermost = chain.pop().unwrap_or_default();
        let says = |words: &[&str]| words.iter().any(|word| all.contains(word));
        if says(&["dns error"]) {
            let detail = innermost.rsplit(": ").next().unwrap_or_default();
            return (Self::DnsFailure, detail.to_owned());
        }
        let found = if says(&["TLS handshake failed", "invalid peer certificate"]) {
            match () {
                () if says(&["UnknownIssuer", "CaUsedAsEndEntity"]) => Self::UntrustedCertificate,
                () if says(&["certificate expired", "Expired", "not valid yet", "NotValidYet"]) => {
                    Self::CertificateNotCurrent
                }
                () if says(&["not valid for", "NotValidForName"]) => Self::CertificateNameMismatch,
                () if says(&["InvalidContentType"]) => Self::NotTls,
                () => Self::TlsHandshake,
            }
        } else if says(&["tunnel error", "proxy"]) {
            Self::ProxyRefused
        } else if says(&["length limit exceeded"]) {
            Self::BodyTooLong
        } else if says(&["connect timeout"]) {
            Self::ConnectTimeout
        } else {
            match kind {
                Some(io::ErrorKind::ConnectionRefused) => Self::ConnectionRefused,
                Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                    Self::Unreachable
                }
                Some(
                    io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof,
                ) => Self::ConnectionReset,
                _ if says(&["connection closed", "end of file before"]) => Self::ConnectionReset,
                _ if says(&["invalid HTTP"]) => Self::NotHttp,
                _ => Self::Other,
            }
        };
        (found, innermost)
    }

    /// Describes the obstacle for `endpoint`, with the `detail` from [`Self::classify`].
    pub fn describe(self, endpoint: &str, detail: &str) -> String {
        match self {
            Self::BodyTooLong => {
                format!("the answer of {endpoint} is longer than any answer of STS")
            }
            Self::CertificateNameMismatch => {
                format!("the certificate of {endpoint} is for another name")
            }
            Self::CertificateNotCurrent => {
                format!("the certificate of {endpoint} has expired or is not valid yet")
            }
            Self::ConnectTimeout => {
                format!("no connection to {endpoint} within the connect timeout")
            }
            Self::ConnectionRefused => format!("{endpoint} refuses connections"),
            Self::ConnectionReset => {
                format!("{endpoint} closed the connection before its answer was complete")
            }
            Self::DnsFailure => format!("the name of {endpoint} does not resolve: {detail}"),
            Self::NotHttp => format!("{endpoint} does not speak HTTP"),
            Self::NotTls => format!("{endpoint} does not speak TLS"),
            Self::Other => format!("{endpoint} could not be reached: {detail}"),
            Self::ProxyRefused => {
                format!("the proxy did not connect roletap to {endpoint}: {detail}")
            }
            Self::ResponseTimeout => format!("no answer from {endpoint} in time"),
            Self::TlsHandshake => format!("the TLS handshake with {endpoint} failed: {detail}"),
            Self::Unreachable => format!("{endpoint} cannot be reached: {detail}"),
            Self::UntrustedCertificate => {
                format!("this host does not trust the issuer of the certificate of {endpoint}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Wrapped(#[source] io::Error);

    fn said(text: &str) -> (TransportError, String) {
        TransportError::classify(&Wrapped(io::Error::other(text.to_owned())))
    }

    #[test]
    fn the_words_of_libraries_are_classified() {
        let cases = [
            (
                "dns error: failed to lookup address information: Name or service not known",
                TransportError::DnsFailure,
            ),
            (
                "TLS handshake failed: invalid peer certificate: UnknownIssuer",
                TransportError::UntrustedCertificate,
            ),
            (
                "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                TransportError::UntrustedCertificate,
            ),
            (
                "invalid peer certificate: certificate expired: verification time 1",
                TransportError::CertificateNotCurrent,
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 1",
                TransportError::CertificateNotCurrent,
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"",
                TransportError::CertificateNameMismatch,
            ),
            (
                "TLS handshake failed: received corrupt message of type InvalidContentType",
                TransportError::NotTls,
            ),
            ("HTTP connect timeout occurred after 1s: timed out", TransportError::ConnectTimeout),
            ("connection closed before message completed", TransportError::ConnectionReset),
            ("invalid HTTP version parsed", TransportError::NotHttp),
            ("length limit exceeded", TransportError::BodyTooLong),
            ("something new", TransportError::Other),
        ];
        let (_, detail) = said("dns error: failed to lookup: Name or service not known");
        assert_eq!(detail, "Name or service not known");
        assert_eq!(said("something new").1, "something new");
        for (text, expected) in cases {
            assert_eq!(said(text).0, expected, "{text}");
        }
    }

    #[test]
    fn the_error_kinds_of_the_kernel_are_classified() {
        for (kind, expected) in [
            (io::ErrorKind::ConnectionRefused, TransportError::ConnectionRefused),
            (io::ErrorKind::ConnectionReset, TransportError::ConnectionReset),
            (io::ErrorKind::BrokenPipe, TransportError::ConnectionReset),
            (io::ErrorKind::UnexpectedEof, TransportError::ConnectionReset),
        ] {
            assert_eq!(TransportError::classify(&Wrapped(kind.into())).0, expected);
        }
    }
}
