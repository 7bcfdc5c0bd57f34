//! Regions: their form, their partition, and the list of those that stand in for home.

use super::text::refuse_duplicates;
use crate::config::REGION_PLACEHOLDER as PLACEHOLDER;
use crate::config::diagnostics::{Diagnostics, Place, Problem};
use crate::config::toml::{Located, Section};
use crate::role::{InvalidValue, refuse};

/// A region. What is behind an endpoint of one's own may call it as it likes.
pub(crate) fn region(text: &str, custom_endpoint: bool) -> Result<String, InvalidValue> {
    if text == "aws-global" {
        return refuse(
            "is `aws-global`, which is no region",
            "expected a region such as eu-central-1: the regional endpoint is always used",
        );
    }
    let label = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_aws_region(text) || (custom_endpoint && label) {
        return Ok(text.to_owned());
    }
    let zone =
        text.strip_suffix(|c: char| c.is_ascii_lowercase()).filter(|rest| is_aws_region(rest));
    Err(match zone {
        Some(region) => InvalidValue::new(
            format!("is the availability zone `{text}`"),
            format!("expected its region, {region}"),
        ),
        None => InvalidValue::new(
            format!("is `{}`", text.escape_debug()),
            "expected a region such as eu-central-1",
        ),
    })
}

/// `fallback_regions`: each once, none of them home, all of home's partition.
pub(crate) fn read_fallbacks(
    section: &Section<'_>,
    home: Option<&Located<String>>,
    endpoint_url: Option<&Located<String>>,
) -> Vec<String> {
    let Some(found) = section.strings("fallback_regions") else {
        return Vec::new();
    };
    let diagnostics = section.diagnostics;
    if let Some(url) = endpoint_url.filter(|url| !url.value.contains(PLACEHOLDER))
        && !found.value.is_empty()
    {
        let message =
            format!("`endpoint_url` is the same in every region: `{PLACEHOLDER}` is missing");
        diagnostics.emit(
            Problem::new(url.at, message)
                .and("this one", found.at, "these regions need one each")
                .help(format!(
                    "write {PLACEHOLDER} where the region belongs, as in https://sts.{PLACEHOLDER}.example.com, or remove fallback_regions"
                )),
        );
    }
    let message = "`fallback_regions` holds the same region twice";
    refuse_duplicates(section, &found.value, str::eq, message, "remove one");
    let mut regions = Vec::with_capacity(found.value.len());
    for item in &found.value {
        let region = region(item.value, endpoint_url.is_some());
        let subject = "an entry of `fallback_regions`";
        if let Some(region) = diagnostics.accept(item.at, subject, region) {
            if let Some(home) = home {
                check_against(home, &region, item.at, diagnostics);
            }
            regions.push(region);
        }
    }
    regions
}

fn check_against(home: &Located<String>, fallback: &str, at: Place, diagnostics: &Diagnostics<'_>) {
    let (message, help) = if fallback == home.value {
        (
            format!("{fallback} is `region` itself, and cannot stand in for it"),
            "remove it, or name another region",
        )
    } else if let (Some(homes), Some(its)) = (partition_of(&home.value), partition_of(fallback))
        && homes != its
    {
        (
            format!("{fallback} is of the partition `{its}`, but `region` is of `{homes}`"),
            "roletap's base identity and the roles are unknown there: name a region of the same partition",
        )
    } else {
        return;
    };
    diagnostics.emit(Problem::new(at, message).and("this one", home.at, "`region`").help(help));
}

/// True for the form of a region of AWS: `eu-central-1`, `us-gov-west-1`.
fn is_aws_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else {
        return false;
    };
    words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// The partition that a region belongs to; `None` for what is no region of AWS.
pub(crate) fn partition_of(region: &str) -> Option<&'static str> {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    if !is_aws_region(region) {
        return None;
    }
    let special = PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix));
    Some(special.map_or("aws", |(_, partition)| partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_and_their_partitions() {
        for (region, partition) in [
            ("eu-central-1", Some("aws")),
            ("cn-north-1", Some("aws-cn")),
            ("us-gov-west-1", Some("aws-us-gov")),
            ("us-iso-east-1", Some("aws-iso")),
            ("us-isob-east-1", Some("aws-iso-b")),
            ("eusc-de-east-1", Some("aws-eusc")),
            ("default", None),
        ] {
            assert_eq!(partition_of(region), partition, "{region}");
        }
    }
}
