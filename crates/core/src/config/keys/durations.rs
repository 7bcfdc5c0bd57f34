//! Durations, which are strings with a unit: `"400ms"`, `"10s"`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::diagnostics::Place;
use crate::config::toml::{Located, Section};
use crate::role::InvalidValue;

/// A duration within a range, all in milliseconds, and where it was written unless it is the default.
pub(crate) fn duration(
    section: &Section<'_>,
    key: &'static str,
    default: u64,
    range: RangeInclusive<u64>,
) -> (Duration, Option<Place>) {
    let default = Duration::from_millis(default);
    let range = Duration::from_millis(*range.start())..=Duration::from_millis(*range.end());
    match section.text_at(key, |text| parse(text, default, range)) {
        Some(Located { value, at }) => (value, Some(at)),
        None => (default, None),
    }
}

pub(crate) fn parse(
    text: &str,
    example: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, InvalidValue> {
    let signed: jiff::SignedDuration = text.parse().map_err(|_| {
        let expected = format!("expected a number with a unit, such as \"{}\"", spoken(example));
        InvalidValue::new("is not a duration", expected)
    })?;
    let value = Duration::try_from(signed).ok();
    value.filter(|value| range.contains(value)).ok_or_else(|| {
        let expected = format!("expected {} to {}", spoken(*range.start()), spoken(*range.end()));
        InvalidValue::new(format!("is {}", text.escape_debug()), expected)
    })
}

pub(crate) fn spoken(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}
