//! No answer, or none that STS gave.

use super::Certainty::{Likely, Told};
use super::When::{Code, Else, Obstacle, Status};
use super::{NETWORK_TEAM, OPERATOR, Row, row};

pub(super) const ROWS: &[Row] = &[
    row(
        Obstacle("name"),
        Told,
        "the name of the endpoint does not resolve",
        OPERATOR,
        "check the DNS of this host (/etc/resolv.conf), the spelling of `sts.region` and `sts.endpoint_url`, and private DNS if there is a VPC endpoint for STS",
    ),
    row(
        Obstacle("refused"),
        Told,
        "nothing listens there, or a firewall says so in its place",
        OPERATOR,
        "check `sts.endpoint_url`, HTTPS_PROXY and the egress rules of this host",
    ),
    row(
        Obstacle("no connection"),
        Likely("nobody answers"),
        "packets are dropped on the way",
        NETWORK_TEAM,
        "let this host reach STS: a route, a security group or a VPC endpoint",
    ),
    row(
        Obstacle("no route"),
        Told,
        "the kernel of this host knows no way there",
        OPERATOR,
        "check the network and the routes of this host",
    ),
    row(
        Obstacle("untrusted"),
        Told,
        "the certificate is of an issuer that this host does not trust: a private CA, or something that intercepts TLS",
        NETWORK_TEAM,
        "say which CA signs for the endpoint, or what intercepts TLS; if that is meant, set SSL_CERT_FILE in the daemon's environment to a bundle with the private CA (AWS_CA_BUNDLE is not read)",
    ),
    row(
        Obstacle("certificate time"),
        Told,
        "the certificate has ended or not begun, by the clock of this host",
        "the operator of this host, and then the owner of the endpoint",
        "check the clock of this host; if it is right, the certificate has to be renewed",
    ),
    row(
        Obstacle("certificate name"),
        Told,
        "what answers is another server, or a proxy that intercepts TLS",
        OPERATOR,
        "check `sts.endpoint_url` and the DNS of this host",
    ),
    row(
        Obstacle("not tls"),
        Told,
        "what answers does not speak TLS",
        OPERATOR,
        "check scheme and port of `sts.endpoint_url`, and HTTPS_PROXY and NO_PROXY: a proxy may answer in place of STS",
    ),
    row(
        Obstacle("tls"),
        Likely("the handshake failed without saying more"),
        "a proxy intercepts TLS, or the two ends share no version",
        NETWORK_TEAM,
        "find what intercepts TLS; SSL_CERT_FILE names a private CA (AWS_CA_BUNDLE is not read)",
    ),
    row(
        Obstacle("proxy"),
        Told,
        "the proxy would not pass us on",
        "whoever runs the proxy of this host",
        "check HTTPS_PROXY in the daemon's environment, user name and password included, or name the endpoint in NO_PROXY",
    ),
    row(
        Obstacle("cut off"),
        Likely("a connection ends without a reason"),
        "a proxy, a firewall or a load balancer ended the connection, or STS did",
        "nobody if it passes, else the network team of this host",
        "find what ends connections on the way to STS",
    ),
    row(
        Obstacle("not http"),
        Told,
        "something else listens there",
        OPERATOR,
        "check `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY of this host",
    ),
    row(
        Obstacle("no answer"),
        Likely("silence has no reason"),
        "STS, or something on the way to it, is too slow",
        "nobody if it passes, else the network team of this host",
        "check egress, the VPC endpoint and HTTPS_PROXY of this host",
    ),
    row(
        Obstacle("other"),
        Likely("roletap does not know this error"),
        "STS cannot be reached",
        "nobody if it passes, else the network team of this host",
        "check DNS, egress, the VPC endpoint and HTTPS_PROXY of this host",
    ),
    row(
        Code(&["IDPCommunicationError"]),
        Told,
        "AWS could not fetch the keys of the identity provider",
        "whoever runs the identity provider that this host's tokens come from",
        "let AWS reach its keys over the internet",
    ),
    row(
        Status(407..=407),
        Told,
        "a proxy between this host and STS wants a user name and a password",
        "whoever runs the proxy of this host",
        "give them in HTTPS_PROXY in the daemon's environment, or name the endpoint in NO_PROXY",
    ),
    row(
        Status(200..=499),
        Likely("STS does not answer so"),
        "a proxy, a captive portal or another service answers in place of STS",
        NETWORK_TEAM,
        "check `sts.endpoint_url`, HTTPS_PROXY and NO_PROXY of this host",
    ),
    row(
        Else,
        Told,
        "STS, or something in front of it, is out of order for now",
        "nobody if it passes, else AWS support, with the request id",
        "look at the AWS Health Dashboard for STS in {region}; `sts.fallback_regions` name others to ask",
    ),
];
