//! Durations of ours, which are strings with a unit: `"400ms"`, `"10s"`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::Place;
use super::reading::Reading;
use super::section::Section;
use super::value::At;
use crate::role::InvalidValue;

/// A duration, and where it was written unless it is a default.
pub(super) struct Timed {
    pub(super) value: Duration,
    pub(super) at: Option<Place>,
}

pub(super) fn duration(
    section: &mut Section<'_>,
    key: &'static str,
    default: Duration,
    range: RangeInclusive<Duration>,
    reading: &mut Reading<'_>,
) -> Timed {
    let found = section.text(key, reading, |text| parse(text, default, range));
    match found {
        Some(At { value, at }) => Timed { value, at: Some(at) },
        None => Timed { value: default, at: None },
    }
}

pub(super) fn parse(
    text: &str,
    example: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, InvalidValue> {
    let signed: jiff::SignedDuration = text.parse().map_err(|_| {
        InvalidValue::new(
            "is not a duration",
            format!("expected a number with a unit, such as \"{}\"", spoken(example)),
        )
    })?;
    let value = Duration::try_from(signed).ok();
    value.filter(|value| range.contains(value)).ok_or_else(|| {
        let expected = format!("expected {} to {}", spoken(*range.start()), spoken(*range.end()));
        InvalidValue::new(format!("is {}", text.escape_debug()), expected)
    })
}

pub(super) fn spoken(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

pub(super) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
