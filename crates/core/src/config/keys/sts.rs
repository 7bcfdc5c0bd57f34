//! `[sts]`.

use std::time::Duration;

use super::Context;
use super::durations::duration;
use super::region;
use crate::config::diagnostics::{Diagnostics, Place, Problem};
use crate::config::toml::{Located, Section};
use crate::config::{REGION_PLACEHOLDER, Sts};
use crate::role::{InvalidValue, refuse};

pub(crate) fn read(
    section: Section<'_>,
    context: &Context<'_>,
    main_is_sound: bool,
) -> Option<Sts> {
    if main_is_sound {
        section.require(
            "region",
            "add region = \"eu-central-1\" or the like below [sts]: the regional endpoint is always used",
        );
    }
    let endpoint_url = section.text_at("endpoint_url", endpoint_url);
    let use_fips = endpoint_choice(&section, "use_fips", endpoint_url.as_ref());
    let use_dual_stack = endpoint_choice(&section, "use_dual_stack", endpoint_url.as_ref());
    let fallback_regions =
        region::read_fallbacks(&section, context.region.as_ref(), endpoint_url.as_ref());
    let connect_timeout = duration(&section, "connect_timeout", 2000, 100..=30_000);
    let attempt_timeout = duration(&section, "attempt_timeout", 5000, 500..=60_000);
    check_timeouts(connect_timeout, attempt_timeout, section.diagnostics);
    let max_requests_per_second = section.number("max_requests_per_second", 1..=600, "");
    let max_in_flight = section.number("max_in_flight", 1..=256, "");
    let own_account_ids = section.strings("own_account_ids").map_or(Vec::new(), |found| {
        section.accept_each(&found.value, "an entry of `own_account_ids`", account_id)
    });
    section.finish();
    Some(Sts {
        region: context.region.as_ref()?.value.clone(),
        fallback_regions,
        endpoint_url: endpoint_url.map(|found| found.value),
        use_fips,
        use_dual_stack,
        max_requests_per_second: max_requests_per_second.unwrap_or(10),
        max_in_flight: max_in_flight.unwrap_or(8),
        connect_timeout: connect_timeout.0,
        attempt_timeout: attempt_timeout.0,
        unsafe_short_sessions: context.unsafe_short_sessions,
        own_account_ids,
    })
}

fn account_id(text: &str) -> Result<String, InvalidValue> {
    if text.len() != 12 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidValue::not_one_of(text, "12 digits in quotes, without dashes"));
    }
    Ok(text.to_owned())
}

fn endpoint_url(text: &str) -> Result<String, InvalidValue> {
    const EXPECTED: &str = "expected https://HOST or http://HOST:PORT";
    // Any region shows whether the rest is a URL.
    let example = text.replace(REGION_PLACEHOLDER, "eu-central-1");
    if example.contains(['{', '}']) {
        return refuse(
            "holds braces",
            "expected none but those of {region}, which stands for the region that is asked",
        );
    }
    let Ok(uri) = example.parse::<http::Uri>() else {
        return refuse("is not a URL", EXPECTED);
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("does not begin with https:// or http://", EXPECTED);
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return refuse(
            "holds a user name or a password",
            "requests to STS are signed, so remove it, and replace the password: it was in this file",
        );
    }
    if uri.query().is_some() {
        return refuse("has a query", "remove the part from `?` on");
    }
    Ok(text.to_owned())
}

/// A choice of endpoint, which makes no sense beside an endpoint of one's own: the SDK refuses the two at each call.
fn endpoint_choice(
    section: &Section<'_>,
    key: &'static str,
    endpoint_url: Option<&Located<String>>,
) -> bool {
    let Some(found) = section.boolean(key) else {
        return false;
    };
    if let Some(url) = endpoint_url.filter(|_| found.value) {
        let message = format!("`{key}` and `endpoint_url` exclude each other");
        let help = "give the URL of the endpoint that you mean, and remove the other key";
        section.diagnostics.emit(Problem::new(found.at, message).beside(url.at).help(help));
    }
    found.value
}

fn check_timeouts(
    (connect, connect_at): (Duration, Option<Place>),
    (attempt, attempt_at): (Duration, Option<Place>),
    diagnostics: &Diagnostics<'_>,
) {
    let message = match (connect_at, attempt_at) {
        _ if connect <= attempt => return,
        (Some(_), Some(_)) => "`connect_timeout` is longer than `attempt_timeout`",
        (Some(_), None) => "`connect_timeout` is longer than `attempt_timeout`, which is 5s",
        (None, _) => "`attempt_timeout` is shorter than `connect_timeout`, which is 2s",
    };
    let problem = Problem::new(connect_at.or(attempt_at), message);
    diagnostics.emit(
        problem
            .beside(attempt_at.filter(|_| connect_at.is_some()))
            .help("an attempt includes its connection: give it more time"),
    );
}
