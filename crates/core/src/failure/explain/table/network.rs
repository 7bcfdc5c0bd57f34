//! The rows of [`Class::Network`](crate::failure::Class::Network): no answer, or an answer that is
//! not from STS.

use super::When::{Cause, Code, Else, Status};
use super::{
    NETWORK_TEAM, NETWORK_TEAM_IN_TIME, OPERATOR, PROXY_TEAM, Row, TOKEN_ISSUER, TransportError,
    when,
};

const CHECK_PROXY: &str = "check `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY of this host";
const OPERATOR_THEN_OWNER: &str = "the operator of this host, and then the owner of the endpoint";

pub(super) const ROWS: &[Row] = &[
    when(Cause(TransportError::DnsFailure), OPERATOR)
        .means("DNS does not resolve the name of the STS endpoint")
        .change("check the DNS settings of this host (/etc/resolv.conf). Check the spelling of `sts.region` and `sts.endpoint_url`. If STS has a VPC endpoint, check its private DNS"),
    when(Cause(TransportError::ConnectionRefused), OPERATOR)
        .means("no program listens at the endpoint, or a firewall refuses the connection")
        .change("check `sts.endpoint_url`, HTTPS_PROXY and the egress rules of this host"),
    when(Cause(TransportError::ConnectTimeout), NETWORK_TEAM)
        .means("the network drops packets between this host and STS")
        .likely("No server answers")
        .change("give this host a path to STS: a route, a security group rule or a VPC endpoint"),
    when(Cause(TransportError::Unreachable), OPERATOR)
        .means("this host has no network route to the STS endpoint")
        .change("check the network and the routes of this host"),
    when(Cause(TransportError::UntrustedCertificate), NETWORK_TEAM)
        .means("this host does not trust the issuer of the certificate. The issuer is a private CA, or a proxy intercepts TLS")
        .change("tell the operator which CA signs for the endpoint, or which proxy intercepts TLS. If this is intended, set SSL_CERT_FILE in the daemon's environment to a bundle with this CA. roletap does not read AWS_CA_BUNDLE"),
    when(Cause(TransportError::CertificateNotCurrent), OPERATOR_THEN_OWNER)
        .means("the certificate of the endpoint has expired or is not valid yet, by the clock of this host")
        .change("check the clock of this host. If the clock is correct, renew the certificate"),
    when(Cause(TransportError::CertificateNameMismatch), OPERATOR)
        .means("another server answers, or a proxy intercepts TLS")
        .change("check `sts.endpoint_url` and the DNS settings of this host"),
    when(Cause(TransportError::NotTls), OPERATOR)
        .means("the server that answers does not use TLS")
        .change("check the scheme and the port of `sts.endpoint_url`. Check HTTPS_PROXY and NO_PROXY, because a proxy may answer instead of STS"),
    when(Cause(TransportError::TlsHandshake), NETWORK_TEAM)
        .means("a proxy intercepts TLS, or the two sides have no TLS version in common")
        .likely("The TLS handshake failed without a reason")
        .change("find the proxy that intercepts TLS. If it uses a private CA, set SSL_CERT_FILE. roletap does not read AWS_CA_BUNDLE"),
    when(Cause(TransportError::ProxyRefused), PROXY_TEAM)
        .means("the proxy did not forward roletap's request")
        .change("check HTTPS_PROXY in the daemon's environment, with its user name and password. Or add the endpoint to NO_PROXY"),
    when(Cause(TransportError::ConnectionReset), NETWORK_TEAM_IN_TIME)
        .means("a proxy, a firewall, a load balancer or STS closed the connection")
        .likely("A closed connection gives no reason")
        .change("find the device that closes connections between this host and STS"),
    when(Cause(TransportError::BodyTooLong), OPERATOR)
        .means("a proxy, a captive portal or another service answers instead of STS. STS never sends such a long answer")
        .change(CHECK_PROXY),
    when(Cause(TransportError::NotHttp), OPERATOR)
        .means("a program that does not use HTTP listens at the endpoint")
        .change(CHECK_PROXY),
    when(Cause(TransportError::ResponseTimeout), NETWORK_TEAM_IN_TIME)
        .means("STS, or a device between this host and STS, is too slow")
        .likely("A timeout gives no reason")
        .change("check the egress rules, the VPC endpoint and HTTPS_PROXY of this host"),
    when(Cause(TransportError::Other), NETWORK_TEAM_IN_TIME)
        .means("this host cannot reach STS")
        .likely("roletap does not know this error")
        .change("check DNS, the egress rules, the VPC endpoint and HTTPS_PROXY of this host"),
    when(Code(&["IDPCommunicationError"]), TOKEN_ISSUER)
        .means("AWS could not fetch the keys of the identity provider")
        .change("make the keys of this provider available to AWS over the internet"),
    when(Status(407..=407), PROXY_TEAM)
        .means("a proxy between this host and STS requires a user name and a password")
        .change("set both in HTTPS_PROXY in the daemon's environment, or add the endpoint to NO_PROXY"),
    when(Status(200..=499), NETWORK_TEAM)
        .means("a proxy, a captive portal or another service answers instead of STS")
        .likely("STS never gives such an answer")
        .change(CHECK_PROXY),
    when(Else, "AWS support, with the request ID, if the error continues")
        .means("STS, or a server in front of it, has a temporary failure")
        .change("check the AWS Health Dashboard for STS in {region}. `sts.fallback_regions` can name other Regions to call"),
];
