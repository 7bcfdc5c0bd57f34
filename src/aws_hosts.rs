//! Host names of AWS, by the endpoint rules of the SDK that also sends roletap's requests.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aws_sdk_sts::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};

/// Returns the URL of STS in `region`, or the reason why that partition has no such endpoint.
pub fn sts_url(region: &str, use_fips: bool, use_dual_stack: bool) -> Result<String, String> {
    let params = Params::builder()
        .region(region)
        .use_fips(use_fips)
        .use_dual_stack(use_dual_stack)
        .build()
        .map_err(|error| error.to_string())?;
    let resolver = DefaultResolver::new();
    let resolved = pin!(resolver.resolve_endpoint(&params));
    // The rules are compiled in: they answer at the first poll.
    match resolved.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(endpoint)) => Ok(endpoint.url().to_owned()),
        Poll::Ready(Err(error)) => Err(error.to_string()),
        Poll::Pending => Err("the endpoint rules of the SDK gave no answer".to_owned()),
    }
}

/// Returns the host name of S3 in `region`, such as `s3.cn-north-1.amazonaws.com.cn`.
///
/// The DNS suffix of the partition is the one that the plain STS endpoint of that region has.
pub fn s3_host(region: &str) -> Result<String, String> {
    let sts = sts_url(region, false, false)?;
    match sts.strip_prefix("https://sts.") {
        Some(rest) => Ok(format!("s3.{rest}")),
        None => Err(format!("the SDK knows STS in {region} as {sts}, which names no S3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_dns_suffix() {
        for (region, suffix) in [
            ("eu-central-1", "amazonaws.com"),
            ("us-east-1", "amazonaws.com"),
            // Launched after this SDK: the rules know a partition by the form of its regions.
            ("eu-nowhere-9", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("eusc-de-east-1", "amazonaws.eu"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "cloud.adc-e.uk"),
            ("us-isof-south-1", "csp.hci.ic.gov"),
        ] {
            assert_eq!(sts_url(region, false, false), Ok(format!("https://sts.{region}.{suffix}")));
            assert_eq!(s3_host(region), Ok(format!("s3.{region}.{suffix}")));
        }
    }

    #[test]
    fn fips_and_dual_stack_endpoints_are_those_of_the_sdk() {
        for (region, fips, dual_stack, url) in [
            ("us-east-1", true, false, "https://sts-fips.us-east-1.amazonaws.com"),
            ("us-east-1", false, true, "https://sts.us-east-1.api.aws"),
            ("us-east-1", true, true, "https://sts-fips.us-east-1.api.aws"),
            // The plain endpoint of GovCloud is the FIPS endpoint.
            ("us-gov-west-1", true, false, "https://sts.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, true, "https://sts.cn-north-1.api.amazonwebservices.com.cn"),
            ("eusc-de-east-1", false, true, "https://sts.eusc-de-east-1.api.amazonwebservices.eu"),
            ("us-iso-east-1", true, false, "https://sts-fips.us-iso-east-1.c2s.ic.gov"),
        ] {
            assert_eq!(sts_url(region, fips, dual_stack).as_deref(), Ok(url));
        }
    }
}
