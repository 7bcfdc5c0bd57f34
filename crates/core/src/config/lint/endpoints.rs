//! Lints about the endpoint of STS, and about instance metadata endpoints.

use super::{LintInput, LintWarning};
use crate::config::diagnostics::Problem;

pub(super) fn without_tls<'f>(all: &LintInput<'f>) -> Vec<LintWarning<'f>> {
    let sts = &all.config.sts;
    let is_plain = |url: String| {
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']);
        let is_local = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        Some(uri.scheme_str() == Some("http") && !is_local)
    };
    if sts.endpoint_url(&sts.region).and_then(is_plain) != Some(true) {
        return Vec::new();
    }
    let place = all.places.get("sts", "endpoint_url");
    let problem = Problem::new(place, "credentials will cross the network in the clear");
    vec![LintWarning { role: None, problem: problem.help("use https") }]
}

/// Unless the role says whose processes it is for.
pub(super) fn open_to_every_process<'f>(all: &LintInput<'f>) -> Vec<LintWarning<'f>> {
    let endpoints = all.config.imds.values();
    let found = endpoints.filter_map(|endpoint| {
        let role = all.config.roles.get(&endpoint.role)?;
        role.callers.is_empty().then(|| {
            let place = all.places.get(&format!("imds.{}", endpoint.name), "listen");
            let message = format!(
                "every process that reaches this address gets the role {}: clients of instance metadata have no token",
                role.name
            );
            let problem = Problem::new(place, message).help(
                "say in the role whose processes it is for (allow_users, allow_units), or keep the address in a network \
                 namespace of the one workload; once that is so, accept_warnings = [\"imds-open-to-every-process\"] in the role",
            );
            LintWarning { role: Some(role.as_ref()), problem }
        })
    });
    found.collect()
}
