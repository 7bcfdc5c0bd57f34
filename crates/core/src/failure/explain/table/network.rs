//! No answer, or none that STS gave.

use super::When::{Cause, Code, Else, Status};
use super::{NETWORK_TEAM, OPERATOR, Row, TransportError, likely, told};

pub(super) const ROWS: &[Row] = &[
    told(
        Cause(TransportError::DnsFailure),
        "the name of the endpoint does not resolve",
        OPERATOR,
        "check the DNS of this host (/etc/resolv.conf), the spelling of `sts.region` and `sts.endpoint_url`, and private DNS if there is a VPC endpoint for STS",
    ),
    told(
        Cause(TransportError::ConnectionRefused),
        "nothing listens there, or a firewall says so in its place",
        OPERATOR,
        "check `sts.endpoint_url`, HTTPS_PROXY and the egress rules of this host",
    ),
    likely(
        Cause(TransportError::ConnectTimeout),
        "nobody answers",
        "packets are dropped on the way",
        NETWORK_TEAM,
        "let this host reach STS: a route, a security group or a VPC endpoint",
    ),
    told(
        Cause(TransportError::Unreachable),
        "the kernel of this host knows no way there",
        OPERATOR,
        "check the network and the routes of this host",
    ),
    told(
        Cause(TransportError::UntrustedCertificate),
        "the certificate is of an issuer that this host does not trust: a private CA, or something that intercepts TLS",
        NETWORK_TEAM,
        "say which CA signs for the endpoint, or what intercepts TLS; if that is meant, set SSL_CERT_FILE in the daemon's environment to a bundle with the private CA (AWS_CA_BUNDLE is not read)",
    ),
    told(
        Cause(TransportError::CertificateNotCurrent),
        "the certificate has expired or is not valid yet, by the clock of this host",
        "the operator of this host, and then the owner of the endpoint",
        "check the clock of this host; if it is right, the certificate has to be renewed",
    ),
    told(
        Cause(TransportError::CertificateNameMismatch),
        "what answers is another server, or a proxy that intercepts TLS",
        OPERATOR,
        "check `sts.endpoint_url` and the DNS of this host",
    ),
    told(
        Cause(TransportError::NotTls),
        "what answers does not speak TLS",
        OPERATOR,
        "check scheme and port of `sts.endpoint_url`, and HTTPS_PROXY and NO_PROXY: a proxy may answer in place of STS",
    ),
    likely(
        Cause(TransportError::TlsHandshake),
        "the handshake failed without saying more",
        "a proxy intercepts TLS, or the two ends share no version",
        NETWORK_TEAM,
        "find what intercepts TLS; SSL_CERT_FILE names a private CA (AWS_CA_BUNDLE is not read)",
    ),
    told(
        Cause(TransportError::ProxyRefused),
        "the proxy did not pass roletap's request on",
        "whoever runs the proxy of this host",
        "check HTTPS_PROXY in the daemon's environment, user name and password included, or name the endpoint in NO_PROXY",
    ),
    likely(
        Cause(TransportError::ConnectionReset),
        "a connection ends without a reason",
        "a proxy, a firewall or a load balancer ended the connection, or STS did",
        "nobody if it passes, else the network team of this host",
        "find what ends connections on the way to STS",
    ),
    told(
        Cause(TransportError::BodyTooLong),
        "what answers is not STS but a proxy, a portal or another server: no answer of STS is so long",
        OPERATOR,
        "check `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY of this host",
    ),
    told(
        Cause(TransportError::NotHttp),
        "something else listens there",
        OPERATOR,
        "check `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY of this host",
    ),
    likely(
        Cause(TransportError::ResponseTimeout),
        "silence has no reason",
        "STS, or something on the way to it, is too slow",
        "nobody if it passes, else the network team of this host",
        "check egress, the VPC endpoint and HTTPS_PROXY of this host",
    ),
    likely(
        Cause(TransportError::Other),
        "roletap does not know this error",
        "STS cannot be reached",
        "nobody if it passes, else the network team of this host",
        "check DNS, egress, the VPC endpoint and HTTPS_PROXY of this host",
    ),
    told(
        Code(&["IDPCommunicationError"]),
        "AWS could not fetch the keys of the identity provider",
        "whoever runs the identity provider that this host's tokens come from",
        "let AWS reach its keys over the internet",
    ),
    told(
        Status(407..=407),
        "a proxy between this host and STS wants a user name and a password",
        "whoever runs the proxy of this host",
        "give them in HTTPS_PROXY in the daemon's environment, or name the endpoint in NO_PROXY",
    ),
    likely(
        Status(200..=499),
        "STS does not answer so",
        "a proxy, a captive portal or another service answers in place of STS",
        NETWORK_TEAM,
        "check `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY of this host",
    ),
    told(
        Else,
        "STS, or something in front of it, is out of order for now",
        "nobody if it passes, else AWS support, with the request id",
        "look at the AWS Health Dashboard for STS in {region}; `sts.fallback_regions` name others to ask",
    ),
];
