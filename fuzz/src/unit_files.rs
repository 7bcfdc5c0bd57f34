//! The environments of workloads: `/proc/PID/environ`, environment files, unit files and what `systemctl show` prints.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use roletap_core::doctor::consumer::ConsumerFacts;
use roletap_core::doctor::environment::{Unit, of_file, of_process};
use roletap_core::doctor::{Diagnosis, host};
use roletap_core::role::UnitName;
use roletap_core::token_digest::Digest;

/// Reads the bytes in every way, and looks at what `doctor` says of them.
pub fn unit_files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let unit = Unit::parse(&text);
    for (path, _) in &unit.files {
        assert!(!path.is_empty());
    }
    assert!(unit.user.as_deref().is_none_or(|user| !user.is_empty()));
    let _ = text.lines().map(UnitName::parse).filter(Result::is_ok).count();
    let listen: [SocketAddr; 2] = [([127, 0, 0, 1], 8787).into(), "[::1]:8787".parse().unwrap()];
    for variables in [unit.variables, of_file(&text), of_process(bytes)] {
        assert!(variables.keys().all(|name| !name.is_empty()));
        let shown: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        let _ = host::proxies(&shown, "https://sts.eu-central-1.amazonaws.com", Some(listen[1]));
        let caught = host::caught(&shown, listen[0]);
        for value in variables.values() {
            let host = host::host_of(value);
            assert!(value.contains(host));
        }
        let consumer = ConsumerFacts {
            name: "process 4711".to_owned(),
            token_file: variables.get("TOKEN_FILE").map(|text| Ok(text.clone())),
            variables,
            role: Some("a"),
            listen: &listen,
            tokens: vec![("a", Some(Digest::of(b"token"))), ("b", None)],
            metadata_answers: bytes.len() % 2 == 0,
        };
        let secret =
            consumer.variables.get("AWS_SECRET_ACCESS_KEY").map(|secret| secret.to_string());
        let mut report = Diagnosis::default();
        let mut findings = consumer.findings();
        findings.extend(caught);
        report.add("the workload", findings);
        let written = report.text();
        let controls = written.chars().filter(|c| c.is_control() && *c != '\n').count();
        assert_eq!(controls, 0, "{written:?}");
        // A short one may stand in any sentence.
        if let Some(secret) = secret.filter(|secret| secret.len() > 30) {
            let others =
                consumer.variables.iter().filter(|(name, _)| *name != "AWS_SECRET_ACCESS_KEY");
            if !others
                .into_iter()
                .any(|(name, value)| name.contains(&secret) || value.contains(&secret))
            {
                assert!(!written.contains(&secret), "{written}");
            }
        }
        let _ = report.json();
    }
}
