//! The one thing that error documents of AWS are asked for.

/// Returns the trimmed, unescaped text of the first `<name>` element; `None` if there is none or it is empty.
///
/// It takes what proxies and emulators answer, too: neither the rest of the document nor its nesting has to be right.
pub fn element(body: &str, name: &str) -> Option<String> {
    let after = body.split_once(&format!("<{name}>"))?.1;
    let text = after.split_once(&format!("</{name}>"))?.0.trim();
    let text = text
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_trimmed_and_unescaped() {
        let body = "<Error><Code>A</Code><Message>\n a &lt;b&gt; &amp;lt; \n</Message><Empty/>";
        assert_eq!(element(body, "Code").as_deref(), Some("A"));
        assert_eq!(element(body, "Message").as_deref(), Some("a <b> &lt;"));
        for missing in ["Empty", "RequestId", ""] {
            assert_eq!(element(body, missing), None, "{missing}");
        }
        assert_eq!(element("<Code>  </Code>", "Code"), None);
        assert_eq!(element("<Code>never closed", "Code"), None);
    }
}
