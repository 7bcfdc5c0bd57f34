//! The clock and the proxies of this host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::{Finding, Mark};

/// Past this the SDK corrects for the skew; a little later STS refuses signatures.
const SKEW_LIMIT: f64 = 240.0;
/// Less than this no `Date` can tell.
const SKEW_NOISE: f64 = 5.0;
/// In which clients look, most of them in this order.
const HTTP_PROXY: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const HTTPS_PROXY: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The clock, by what STS says: server minus local, seconds.
pub fn clock(skew: Option<f64>) -> Finding {
    let Some(skew) = skew else {
        return Finding::note("clock", "the clock was not compared: STS did not answer");
    };
    let off = skew.abs();
    if off >= SKEW_LIMIT {
        return Finding::failed("clock", format!("the clock of this host is off by {off:.0} s"))
            .means("from 5 minutes on AWS refuses what is signed here, and from 15 on S3 refuses the workloads too")
            .change("set the clock, and see that NTP keeps it (`timedatectl`, `chronyc tracking`)");
    }
    if off >= 30.0 {
        let what = format!("the clock of this host is off by {off:.0} s, and 300 s are the limit");
        return Finding::warning("clock", what)
            .means("nothing keeps this clock, or it has only just begun to")
            .change("see that NTP keeps it (`timedatectl`, `chronyc tracking`)");
    }
    if off < SKEW_NOISE {
        return Finding::good("clock", "the clock of this host agrees with that of STS");
    }
    let what = format!("the clock of this host is off by {off:.0} s, of 300 s that AWS tolerates");
    Finding::good("clock", what)
}

/// Reports which proxies apply to requests to `endpoint`, and whether roletap's own endpoint is exempt from them.
pub fn proxies(
    variables: &BTreeMap<String, String>,
    endpoint: &str,
    ours: Option<SocketAddr>,
) -> Vec<Finding> {
    let secure = endpoint.starts_with("https:");
    let host = host_of(endpoint);
    let requests = format!("requests to {endpoint} go");
    let mut findings = vec![match proxy_for(variables, secure, host) {
        Some(proxy) => Finding::note("proxy", format!("{requests} through {proxy}")),
        None => Finding::good("proxy", format!("{requests} without a proxy, as this shell has it")),
    }];
    if let Some(finding) = ours.and_then(|ours| caught(variables, ours)) {
        // Of this shell, which is not the workload's, and we spare loopback ourselves.
        let what = format!("in this shell {}", finding.what);
        findings.push(Finding { mark: Mark::Warning, what, ..finding });
    }
    findings
}

/// Reports a proxy that would get requests for roletap's endpoint, with the token in them.
pub fn caught(variables: &BTreeMap<String, String>, ours: SocketAddr) -> Option<Finding> {
    let proxy = proxy_for(variables, false, &ours.ip().to_string())?;
    let what = format!("requests to http://{ours} would go to {proxy}");
    let finding = Finding::failed("proxy-loopback", what)
        .means("the Rust SDK, object_store, OpenDAL and GDAL send requests for credentials to that proxy, the token with them; \
             others do not")
        .change("append 127.0.0.1,localhost to NO_PROXY and no_proxy of the workload, as `roletap env` prints it");
    Some(finding)
}

/// The proxy in words, without a password that its URL may hold, and the variable that names it.
fn proxy_for(variables: &BTreeMap<String, String>, secure: bool, host: &str) -> Option<String> {
    let names = if secure { HTTPS_PROXY } else { HTTP_PROXY };
    let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let (name, proxy) = names.into_iter().find_map(|name| Some((name, set(name)?)))?;
    let exempt = ["no_proxy", "NO_PROXY"].into_iter().find_map(set);
    let goes = !exempt.is_some_and(|rules| exempts(rules, host));
    goes.then(|| format!("the proxy {} ({name})", without_password(proxy)))
}

/// Tells whether the rules of a NO_PROXY name this host.
fn exempts(rules: &str, host: &str) -> bool {
    rules.split(',').map(str::trim).any(|rule| {
        let suffix = rule.trim_start_matches('.');
        rule == "*"
            || rule.eq_ignore_ascii_case(host)
            || !suffix.is_empty()
                && host.to_ascii_lowercase().ends_with(&format!(".{}", suffix.to_ascii_lowercase()))
            || in_network(rule, host)
    })
}

fn in_network(rule: &str, host: &str) -> bool {
    let Some((network, bits)) = rule.split_once('/') else {
        return false;
    };
    let (Ok(IpAddr::V4(network)), Ok(IpAddr::V4(host)), Ok(bits)) =
        (network.parse(), host.parse(), bits.parse::<u32>())
    else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
    u32::from(network) & mask == u32::from(host) & mask
}

/// Returns the host in a URL, without port and credentials.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    }
}

/// A proxy's URL may hold a password.
fn without_password(proxy: &str) -> String {
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    let host = rest.rsplit('@').next().unwrap_or(rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or(host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(set: &[(&str, &str)]) -> BTreeMap<String, String> {
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_clock_has_limits() {
        for (skew, mark) in [
            (None, Mark::Note),
            (Some(0.4), Mark::Good),
            (Some(-20.0), Mark::Good),
            (Some(-31.0), Mark::Warning),
            (Some(240.0), Mark::Failed),
        ] {
            assert_eq!(clock(skew).mark, mark, "{skew:?}");
        }
    }

    #[test]
    fn no_proxy_is_read_as_clients_read_it() {
        for (rules, host, exempt) in [
            ("127.0.0.1,localhost", "127.0.0.1", true),
            ("localhost", "127.0.0.1", false),
            ("127.0.0.0/8", "127.0.0.1", true),
            ("10.0.0.0/8", "127.0.0.1", false),
            (".amazonaws.com", "sts.eu-central-1.amazonaws.com", true),
            ("amazonaws.com", "sts.eu-central-1.amazonaws.com", true),
            ("amazonaws.com", "sts.eu-central-1.notamazonaws.com", false),
            ("*", "anything", true),
            ("", "127.0.0.1", false),
        ] {
            assert_eq!(exempts(rules, host), exempt, "{rules} {host}");
        }
    }

    #[test]
    fn a_proxy_is_told_without_its_password() {
        let set = variables(&[("HTTPS_PROXY", "http://me:pa55word@proxy:3128/")]);
        let endpoint = "https://sts.eu-central-1.amazonaws.com";
        let findings = proxies(&set, endpoint, Some(([127, 0, 0, 1], 5169).into()));
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert!(finding.what.contains("http://proxy:3128 (HTTPS_PROXY)"));
        assert!(!finding.what.contains("pa55word"));
    }

    #[test]
    fn a_proxy_that_catches_our_endpoint_is_a_failure() {
        let set = variables(&[("http_proxy", "proxy:3128"), ("NO_PROXY", "example.com")]);
        let found = caught(&set, ([127, 0, 0, 1], 5169).into()).unwrap();
        assert_eq!(found.mark, Mark::Failed);
        let set = variables(&[("http_proxy", "proxy:3128"), ("NO_PROXY", "127.0.0.1")]);
        assert_eq!(caught(&set, ([127, 0, 0, 1], 5169).into()), None);
    }

    #[test]
    fn the_host_of_a_url() {
        for (url, host) in [
            ("http://127.0.0.1:80/a:b", "127.0.0.1"),
            ("https://sts.example", "sts.example"),
            ("http://[::1]:5169/x", "::1"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
