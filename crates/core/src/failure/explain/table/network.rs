//! The rows of [`Class::Network`](crate::failure::Class::Network): no answer, or an answer that is
//! not from STS.

use super::When::{Cause, Code, Else, Status};
use super::{
    NETWORK_TEAM, NETWORK_TEAM_IN_TIME, OPERATOR, PROXY_TEAM, Row, TOKEN_ISSUER, TransportError,
    likely, told,
};

const CHECK_PROXY: &str = "check `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY of this host";

pub(super) const ROWS: &[Row] = &[
    told(
        Cause(TransportError::DnsFailure),
        "DNS does not resolve the name of the STS endpoint",
        OPERATOR,
        "check the DNS settings of this host (/etc/resolv.conf). Check the spelling of `sts.region` and `sts.endpoint_url`. If STS has a VPC endpoint, check its private DNS",
    ),
    told(
        Cause(TransportError::ConnectionRefused),
        "no program listens at the endpoint, or a firewall refuses the connection",
        OPERATOR,
        "check `sts.endpoint_url`, HTTPS_PROXY and the egress rules of this host",
    ),
    likely(
        Cause(TransportError::ConnectTimeout),
        "No server answers",
        "the network drops packets between this host and STS",
        NETWORK_TEAM,
        "give this host a path to STS: a route, a security group rule or a VPC endpoint",
    ),
    told(
        Cause(TransportError::Unreachable),
        "this host has no network route to the STS endpoint",
        OPERATOR,
        "check the network and the routes of this host",
    ),
    told(
        Cause(TransportError::UntrustedCertificate),
        "this host does not trust the issuer of the certificate. The issuer is a private CA, or a proxy intercepts TLS",
        NETWORK_TEAM,
        "tell the operator which CA signs for the endpoint, or which proxy intercepts TLS. If this is intended, set SSL_CERT_FILE in the daemon's environment to a bundle with this CA. roletap does not read AWS_CA_BUNDLE",
    ),
    told(
        Cause(TransportError::CertificateNotCurrent),
        "the certificate of the endpoint has expired or is not valid yet, by the clock of this host",
        "the operator of this host, and then the owner of the endpoint",
        "check the clock of this host. If the clock is correct, renew the certificate",
    ),
    told(
        Cause(TransportError::CertificateNameMismatch),
        "another server answers, or a proxy intercepts TLS",
        OPERATOR,
        "check `sts.endpoint_url` and the DNS settings of this host",
    ),
    told(
        Cause(TransportError::NotTls),
        "the server that answers does not use TLS",
        OPERATOR,
        "check the scheme and the port of `sts.endpoint_url`. Check HTTPS_PROXY and NO_PROXY, because a proxy may answer instead of STS",
    ),
    likely(
        Cause(TransportError::TlsHandshake),
        "The TLS handshake failed without a reason",
        "a proxy intercepts TLS, or the two sides have no TLS version in common",
        NETWORK_TEAM,
        "find the proxy that intercepts TLS. If it uses a private CA, set SSL_CERT_FILE. roletap does not read AWS_CA_BUNDLE",
    ),
    told(
        Cause(TransportError::ProxyRefused),
        "the proxy did not forward roletap's request",
        PROXY_TEAM,
        "check HTTPS_PROXY in the daemon's environment, with its user name and password. Or add the endpoint to NO_PROXY",
    ),
    likely(
        Cause(TransportError::ConnectionReset),
        "A closed connection gives no reason",
        "a proxy, a firewall, a load balancer or STS closed the connection",
        NETWORK_TEAM_IN_TIME,
        "find the device that closes connections between this host and STS",
    ),
    told(
        Cause(TransportError::BodyTooLong),
        "a proxy, a captive portal or another service answers instead of STS. STS never sends such a long answer",
        OPERATOR,
        CHECK_PROXY,
    ),
    told(
        Cause(TransportError::NotHttp),
        "a program that does not use HTTP listens at the endpoint",
        OPERATOR,
        CHECK_PROXY,
    ),
    likely(
        Cause(TransportError::ResponseTimeout),
        "A timeout gives no reason",
        "STS, or a device between this host and STS, is too slow",
        NETWORK_TEAM_IN_TIME,
        "check the egress rules, the VPC endpoint and HTTPS_PROXY of this host",
    ),
    likely(
        Cause(TransportError::Other),
        "roletap does not know this error",
        "this host cannot reach STS",
        NETWORK_TEAM_IN_TIME,
        "check DNS, the egress rules, the VPC endpoint and HTTPS_PROXY of this host",
    ),
    told(
        Code(&["IDPCommunicationError"]),
        "AWS could not fetch the keys of the identity provider",
        TOKEN_ISSUER,
        "make the keys of this provider available to AWS over the internet",
    ),
    told(
        Status(407..=407),
        "a proxy between this host and STS requires a user name and a password",
        PROXY_TEAM,
        "set both in HTTPS_PROXY in the daemon's environment, or add the endpoint to NO_PROXY",
    ),
    likely(
        Status(200..=499),
        "STS never gives such an answer",
        "a proxy, a captive portal or another service answers instead of STS",
        NETWORK_TEAM,
        CHECK_PROXY,
    ),
    told(
        Else,
        "STS, or a server in front of it, has a temporary failure",
        "AWS support, with the request ID, if the error continues",
        "check the AWS Health Dashboard for STS in {region}. `sts.fallback_regions` can name other Regions to call",
    ),
];
