//! Bad configurations, and the exact report that each earns: `tests/config/`.
//!
//! A case is a file `NAME.toml`, or a directory `NAME/` with a `roletap.toml`. Beside it stands `NAME.err`, the
//! report, or `NAME.ok`, what `check` says of a configuration that is accepted. `UPDATE_GOLDEN=1` rewrites them.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use roletap::config_host;
use roletap_core::config::{
    Check, Config, ConfigFile, Directory, FixedHost, Loaded, Report, refusal_json,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn host() -> FixedHost {
    let mut host = FixedHost::default();
    host.env.insert("CELL".into(), "eu-1".into());
    host.users.insert("sink".into(), 1001);
    host.users.insert("nobody".into(), 65_534);
    for (path, mode, in_memory, inode) in [
        ("/run/roletap/files", 0o755, true, 1),
        ("/run/roletap/tokens", 0o711, true, 2),
        // A link.
        ("/var/run/roletap/files", 0o755, true, 1),
        ("/var/run/roletap/tokens", 0o711, true, 2),
        ("/dev/shm", 0o1777, true, 3),
        ("/dev/shm/open", 0o777, true, 4),
        ("/var/lib/sink", 0o750, false, 5),
        ("/var/lib/open", 0o757, false, 6),
    ] {
        let directory = Directory { mode, in_memory, identity: (1, inode) };
        host.directories.insert(path.into(), directory);
    }
    host.env.insert("AWS_SECRET_ACCESS_KEY".into(), "sentinel-from-env".into());
    for file in entries(&root().join("files")) {
        let name = Path::new("files").join(file.file_name().unwrap());
        host.files.insert(name, fs::read(file).unwrap());
    }
    host
}

/// The sources of a case, under paths which are the same on every machine.
fn sources(case: &Path) -> Vec<ConfigFile> {
    let name = Path::new(case.file_name().unwrap());
    if case.is_file() {
        return vec![ConfigFile::bytes(name, fs::read(case))];
    }
    let mut sources = vec![ConfigFile::bytes("roletap.toml", fs::read(case.join("roletap.toml")))];
    for file in entries(&case.join("conf.d")) {
        let name = Path::new("conf.d").join(file.file_name().unwrap());
        sources.push(ConfigFile::bytes(name, fs::read(file)));
    }
    sources
}

/// Every case, by its path.
fn cases() -> Vec<PathBuf> {
    let mut cases = entries(&root());
    cases.retain(|case| {
        case.extension().is_some_and(|e| e == "toml") || case.join("roletap.toml").is_file()
    });
    cases
}

fn parse(text: &str) -> Result<Loaded, Report> {
    Config::parse(vec![ConfigFile::text("roletap.toml", text)], &host())
}

const MINIMAL: &str =
    "[sts]\nregion = \"eu-central-1\"\n[role.a]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\n";

#[test]
fn every_case_earns_its_report() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    for case in &cases {
        let (found, suffix, other) = match Config::parse(sources(case), &host()) {
            Err(report) => (report.render("nothing was started", false), "err", "ok"),
            Ok(loaded) => (Check::new(&loaded, 1000).text(false), "ok", "err"),
        };
        let golden = case.with_extension(suffix);
        if update {
            fs::write(&golden, &found).unwrap();
            let _ = fs::remove_file(case.with_extension(other));
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 35, "only {} cases were found", cases.len());
}

#[test]
fn no_report_shows_a_secret() {
    for case in entries(&root()) {
        if case.extension().is_some_and(|e| e == "err" || e == "ok") {
            let text = fs::read_to_string(&case).unwrap();
            assert!(!text.contains("sentinel"), "{}", case.display());
        }
    }
    let text = format!(
        "{MINIMAL}aws_secret_access_key = \"sentinel\"\nbad = 1\nexternal_id = \"sentinel !\"\n"
    );
    let report = parse(&text).unwrap_err();
    let all = format!("{report} {report:?} {}", refusal_json(&report));
    assert!(!all.contains("sentinel"), "{all}");
    let loaded = parse(&format!("{MINIMAL}external_id = \"sentinel\"\n")).unwrap();
    assert!(
        !format!(
            "{loaded:?} {} {}",
            Check::new(&loaded, 1).text(false),
            Check::new(&loaded, 1).json()
        )
        .contains("sentinel")
    );
}

#[test]
fn a_report_for_programs_has_the_same_problems() {
    let report = parse("[sts]\nregion = \"eu-central-1\"\nregin = 1\n").unwrap_err();
    let json = refusal_json(&report);
    assert_eq!(json["ok"], false);
    assert_eq!(json["problems"].as_array().unwrap().len(), report.problems().len());
    let unknown = &json["problems"][1];
    assert_eq!(unknown["file"], "roletap.toml");
    assert_eq!(unknown["line"], 3);
    assert_eq!(unknown["column"], 1);
    assert_eq!(unknown["severity"], "error");
    assert_eq!(unknown["message"], "unknown key `regin` in [sts]");
    assert_eq!(unknown["help"], "did you mean `region`?");
}

#[test]
fn fronts_are_told_to_programs() {
    let front = "[imds.files]\nlisten = \"127.0.0.1:8169\"\nsocket = \"systemd\"\nrole = \"a\"\n";
    let loaded = parse(&format!("{MINIMAL}{front}")).unwrap();
    assert_eq!(
        Check::new(&loaded, 1).json()["fronts"],
        serde_json::json!([{
            "name": "files",
            "listen": ["127.0.0.1:8169"],
            "socket": "systemd",
            "role": "a",
            "http_tokens": "required",
        }])
    );
}

#[test]
fn the_caller_can_point_at_any_key() {
    let loaded = parse(&format!("{MINIMAL}[server]\nlisten = \"127.0.0.1:1\"\n[log]\n")).unwrap();
    let at = |key: &str| {
        let report = loaded.problem_at(key, "cannot be reloaded", "restart");
        report.position(&report.problems()[0])
    };
    assert_eq!(at("server.listen"), ("roletap.toml".to_owned(), Some((6, 10))));
    assert_eq!(at("log.level"), ("roletap.toml".to_owned(), Some((7, 1))));
    assert_eq!(at("admin.listen"), ("roletap.toml".to_owned(), None));
    assert_eq!(at("role.a.role_arn"), ("roletap.toml".to_owned(), Some((4, 12))));
}

#[test]
fn files_are_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("roletap.toml");
    let lines = |report: Report| report.to_string();
    assert!(lines(config_host::load(&main).unwrap_err()).contains("does not exist"));

    fs::write(&main, MINIMAL).unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(
        dir.path().join("conf.d/b.toml"),
        "[role.b]\nrole_arn = \"arn:aws:iam::111122223333:role/b\"\npolicy_file = \"p.json\"\n",
    )
    .unwrap();
    fs::write(dir.path().join("conf.d/p.json"), "{\"Statement\": [{}]}").unwrap();
    let loaded = config_host::load(&main).unwrap();
    let names: Vec<String> = loaded.config.roles.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b"]);

    fs::write(&main, vec![b'#'; 2 * 1024 * 1024]).unwrap();
    assert!(lines(config_host::load(&main).unwrap_err()).contains("is larger than 1 MiB"));
    fs::write(&main, b"# gr\xfc\xdfe\n").unwrap();
    assert!(lines(config_host::load(&main).unwrap_err()).contains("is not UTF-8"));
    fs::create_dir(dir.path().join("conf.d/c.toml")).unwrap();
    assert!(lines(config_host::load(&main).unwrap_err()).contains("is a directory"));
}

/// Whatever `check` says about a role can be accepted by its name.
#[test]
fn every_warning_about_a_role_can_be_accepted() {
    let mut about_roles = BTreeSet::new();
    for case in cases() {
        if let Ok(loaded) = Config::parse(sources(&case), &host()) {
            about_roles.extend(loaded.warnings.problems().iter().filter_map(|p| p.id()));
        }
    }
    for about_files in ["endpoint-without-tls", "no-final-newline", "unused-source"] {
        assert!(about_roles.remove(about_files), "{about_files}");
    }
    assert!(about_roles.len() >= 8, "{about_roles:?}");
    for id in about_roles {
        let text = format!("{MINIMAL}accept_warnings = [\"{id}\"]\n");
        parse(&text).unwrap_or_else(|report| panic!("{report}"));
    }
}

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

#[test]
fn the_shipped_files_are_clean() {
    for name in ["minimal.toml", "complete.toml"] {
        let loaded = parse(&shipped(name)).unwrap_or_else(|report| panic!("{name}: {report}"));
        assert!(loaded.warnings.is_empty(), "{name}: {}", loaded.warnings);
    }
}

/// `complete.toml` shows every key. Those of the four settings sections and of [defaults] show their defaults.
#[test]
fn the_complete_file_shows_the_true_defaults() {
    let complete = parse(&shipped("complete.toml")).unwrap().config;
    let bare = parse(MINIMAL).unwrap().config;
    assert_eq!(complete.server, bare.server);
    assert_eq!(complete.admin, bare.admin);
    assert_eq!(complete.log, bare.log);
    assert_eq!(complete.sts, bare.sts);

    // A role that leaves everything to [defaults] is the role that leaves everything to us.
    let text = shipped("complete.toml");
    let text = text.split_once("\n[role.").unwrap().0;
    let role = "[role.a]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\n";
    let with_defaults = parse(&format!("{text}\n{role}")).unwrap().config;
    assert_eq!(with_defaults.roles, bare.roles);
}

/// Every key that the reader asks for stands in `complete.toml`, if only in a comment.
#[test]
fn the_complete_file_shows_every_key() {
    let text = shipped("complete.toml");
    let shown: BTreeSet<&str> = text
        .lines()
        .map(|line| line.trim_start_matches(['#', ' ']))
        .filter_map(|line| line.split_once('=').map(|(key, _)| key.trim()))
        .collect();
    // An unknown key that is near nothing makes the reader list those it knows.
    let report = parse("[server]\nzzzzzz = 1\n[admin]\nzzzzzz = 1\n[log]\nzzzzzz = 1\n[sts]\nzzzzzz = 1\n[source.a]\nzzzzzz = 1\n[imds.a]\nzzzzzz = 1\n[role.a]\nzzzzzz = 1\n").unwrap_err();
    let mut listed = 0;
    for problem in report.problems() {
        let Some(keys) = problem.hint().and_then(|hint| hint.strip_prefix("expected one of "))
        else {
            continue;
        };
        listed += 1;
        for key in keys.split(", ") {
            assert!(shown.contains(key), "{key} is not in complete.toml");
        }
    }
    assert_eq!(listed, 7);
}

/// Whatever is cut off or broken: no panic, and every problem points into the text.
fn check_sound(bytes: &[u8]) {
    let source = ConfigFile::bytes("roletap.toml", Ok(bytes.to_vec()));
    let text = String::from_utf8_lossy(bytes).into_owned();
    let report = match Config::parse(vec![source], &host()) {
        Ok(loaded) => loaded.warnings,
        Err(report) => {
            assert!(!report.is_empty());
            report
        }
    };
    report.render("x", false);
    for problem in report.problems() {
        assert!(!problem.message().is_empty());
        if let (_, Some((line, column))) = report.position(problem) {
            let lines: Vec<&str> = text.split('\n').collect();
            assert!(line <= lines.len(), "line {line} of {}", lines.len());
            assert!(column <= lines[line - 1].chars().count() + 1, "column {column}: {text}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_reported() {
    let complete = shipped("complete.toml");
    for end in 0..complete.len() {
        check_sound(&complete.as_bytes()[..end]);
    }
}

#[test]
fn a_file_with_broken_bytes_is_reported() {
    let complete = shipped("complete.toml").into_bytes();
    let mut random = fastrand::Rng::with_seed(20_240_517);
    for _ in 0..3000 {
        let mut bytes = complete.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..bytes.len());
            bytes[at] = if random.bool() { random.u8(..) } else { random.u8(b' '..b'~') };
        }
        check_sound(&bytes);
    }
}

/// Deeper than any stack, were each level a call.
#[test]
fn absurd_nesting_is_reported() {
    let deep = 200_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep)),
        format!("a{} = 1\n", ".a".repeat(deep)),
        format!("[a{}]\n", ".a".repeat(deep)),
    ] {
        check_sound(text.as_bytes());
    }
}

#[test]
fn a_thousand_roles_are_read_in_a_moment() {
    let mut text =
        String::from("[sts]\nregion = \"eu-central-1\"\n[defaults]\nduration_seconds = 900\n");
    for i in 0..1000 {
        text.push_str(&format!(
            "[role.r{i}]\nrole_arn = \"arn:aws:iam::111122223333:role/r{i}\"\n"
        ));
    }
    let loaded = parse(&text).unwrap();
    assert_eq!(loaded.config.roles.len(), 1000);
    // One bad default is one warning, not a thousand.
    assert_eq!(loaded.warnings.problems().len(), 1);

    let report = parse(&text.replace(":role/", ":user/")).unwrap_err();
    assert!(report.render("", false).ends_with("1000 problems in 1 file\n"));
}

#[test]
fn a_role_overrides_the_defaults_key_by_key() {
    let text = concat!(
        "[sts]\nregion = \"eu-central-1\"\n",
        "[defaults]\nduration_seconds = 7200\nexternal_id = \"everyone\"\nunsafe_no_token = true\nrequired = false\n",
        "[role.a]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\n",
        "[role.b]\nrole_arn = \"arn:aws:iam::111122223333:role/b\"\n",
        "duration_seconds = 3600\nexternal_id_file = \"files/external-id\"\ntoken_group = \"g\"\nunsafe_no_token = false\nrequired = true\n",
        "[role.c]\nrole_arn = \"arn:aws:iam::111122223333:role/c\"\nunsafe_no_token = false\n",
    );
    let config = parse(text).unwrap().config;
    let roles: BTreeMap<&str, _> =
        config.roles.iter().map(|(name, role)| (name.as_str(), role)).collect();
    let external_id = |name| roles[name].request.external_id.as_ref().unwrap().as_str();
    use roletap_core::role::TokenSource;
    assert_eq!((external_id("a"), external_id("b")), ("everyone", "ws-from-file"));
    assert_eq!(roles["a"].duration.as_secs(), 7200);
    assert_eq!(roles["b"].duration.as_secs(), 3600);
    assert_eq!(roles["a"].token, TokenSource::None);
    assert_eq!(roles["b"].token, TokenSource::Generated { group: Some("g".to_owned()) });
    assert_eq!(roles["c"].token, TokenSource::Generated { group: None });
    assert!(!roles["a"].required && roles["b"].required);
}

#[test]
fn only_the_request_decides_whether_credentials_are_kept() {
    let role = |more: &str| {
        parse(&format!("{MINIMAL}{more}")).unwrap().config.roles.values().next().unwrap().clone()
    };
    let base = role("");
    for same in [
        "duration_seconds = 7200",
        "required = false",
        "on_denied = \"drop\"",
        "min_remaining = \"40m\"",
        "token_group = \"g\"",
        "credentials_file = \"/run/roletap/files/a\"",
        "account_id = true",
    ] {
        assert!(base.same_request(&role(same)), "{same}");
    }
    for other in [
        "role_session_name = \"other\"",
        "external_id = \"other\"",
        "policy = '{\"Statement\":[{}]}'",
        "policy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]",
        "tags = { A = \"1\" }",
        "source_identity = \"other\"",
    ] {
        assert!(!base.same_request(&role(other)), "{other}");
    }
}
