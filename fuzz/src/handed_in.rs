//! What a base identity hands in: the output of a `credential_process`, and the claims of a web identity token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roletap::sts::Token;

use crate::assert_plain;

/// Takes the bytes for the output of a program, for a token, and for the claims of one.
pub fn handed_in(bytes: &[u8]) {
    if let Err(complaint) = roletap::source::process::parse(bytes) {
        assert_plain(&complaint, "the complaint about a program");
    }
    let text = String::from_utf8_lossy(bytes);
    for token in [text.clone().into_owned(), format!("e30.{}.x", URL_SAFE_NO_PAD.encode(bytes))] {
        let read =
            Token::new(token.into(), "/t".into(), None).ok().and_then(|token| token.claims());
        let claims = read.unwrap_or_default();
        for claim in [claims.issuer, claims.audience, claims.subject].into_iter().flatten() {
            assert_plain(&claim, "a claim");
        }
    }
}
