//! The configuration: main file, `conf.d` and one file that it may name, divided by zero bytes.

use roletap_core::config::{
    Check, Config, ConfigFile, Directory, FixedHost, redacted, refusal_json,
};

/// The file that a configuration may name, such as `external_id_file = "/x"`.
const NAMED: &str = "/x";

fn host(named: &[u8]) -> FixedHost {
    let mut host = FixedHost::default();
    host.env.insert("CELL".into(), "eu-1".into());
    host.users.insert("sink".into(), 1001);
    host.files.insert(NAMED.into(), named.to_vec());
    for (path, mode, in_memory, inode) in [
        ("/run/roletap/files", 0o755, true, 1),
        ("/run/roletap/tokens", 0o711, true, 2),
        ("/d", 0o777, false, 3),
    ] {
        host.directories.insert(path.into(), Directory { mode, in_memory, identity: (1, inode) });
    }
    host
}

/// Parses, and renders all that comes of it. Reading a place outside a text panics in `Report`.
pub fn config(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let main = parts.next().unwrap_or_default();
    let more = parts.next();
    let host = host(parts.next().unwrap_or_default());
    let files = || {
        let mut files = vec![ConfigFile::bytes("roletap.toml", Ok(main.to_vec()))];
        files.extend(more.map(|more| ConfigFile::bytes("conf.d/more.toml", Ok(more.to_vec()))));
        files
    };
    match (Config::parse(files(), &host), Config::parse(files(), &host)) {
        (Ok(loaded), Ok(again)) => {
            assert_eq!(loaded.config, again.config);
            assert_eq!(loaded.warnings, again.warnings);
            let check = Check::new(&loaded, 3);
            assert_eq!(check.text(false), Check::new(&again, 3).text(false));
            let _ = (check.text(true), check.json(), loaded.warnings.to_json());
            for name in loaded.config.roles.keys() {
                let report = loaded.problem_at(&format!("role.{name}.role_arn"), "it", "do");
                let _ = (report.render("", false), report.to_json());
            }
        }
        (Err(report), Err(again)) => {
            assert!(!report.is_empty());
            assert_eq!(report, again);
            let text = report.render("nothing was started", false);
            let controls = text.chars().filter(|c| c.is_control() && *c != '\n').count();
            // A source line is shown as it is; the renderer replaces its control characters.
            assert_eq!(controls, 0, "{text:?}");
            let _ = (report.render("", true), report.to_json(), refusal_json(&report));
        }
        (first, second) => panic!("{:?}, then {:?}", first.map(drop), second.map(drop)),
    }
    if let Ok(text) = std::str::from_utf8(main) {
        let _ = redacted(text);
    }
}
