//! Whether a request that FakeSts received was signed with a secret: a library signs it again.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use fake_sts::Received;

/// Panics unless this key, with this secret and token, signed it.
pub(crate) fn assert_signed(request: &Received, id: &str, secret: &str, token: Option<&str>) {
    let found = request.header("authorization").expect("a signature");
    assert_eq!(
        authorization(request, id, secret, token),
        found,
        "not signed by {id} with the secret that was meant"
    );
    let other = authorization(request, id, "another-secret", token);
    assert_ne!(other, found, "the check would take any secret");
}

fn authorization(request: &Received, id: &str, secret: &str, token: Option<&str>) -> String {
    let found = request.header("authorization").expect("a signature");
    let signed = found
        .split(", ")
        .find_map(|part| part.strip_prefix("SignedHeaders="))
        .expect("the headers that are signed");
    let headers: Vec<(&str, &str)> = signed
        .split(';')
        // These the signer adds by itself.
        .filter(|name| !matches!(*name, "x-amz-date" | "x-amz-security-token"))
        .map(|name| (name, request.header(name).expect("a signed header")))
        .collect();
    let date = request.signed_date.as_deref().expect("a date");
    let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).expect("a date");
    let time = jiff::tz::Offset::UTC.to_timestamp(date).expect("a time");
    let identity = Credentials::new(id, secret, token.map(str::to_owned), None, "a test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region.as_deref().expect("a region"))
        .name("sts")
        .time(SystemTime::from(time))
        .settings(SigningSettings::default())
        .build()
        .expect("parameters")
        .into();
    let host = request.header("host").expect("a host");
    let url = format!("http://{host}{}", request.path);
    let signable =
        SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(&request.body))
            .expect("a request");
    let (instructions, _) = sign(signable, &parameters).expect("a signature").into_parts();
    let (headers, _) = instructions.into_parts();
    headers
        .iter()
        .find(|header| header.name() == "authorization")
        .map(|header| header.value().to_owned())
        .expect("a signature")
}
