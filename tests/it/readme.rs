//! What the README shows has to be true.

use roletap_core::config::{Config, ConfigFile, FixedHost};

const README: &str = include_str!("../../README.md");

#[test]
fn the_configuration_that_it_shows_can_be_used() {
    let shown = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let loaded = Config::parse(vec![ConfigFile::text("README.md", shown)], &FixedHost::default());
    let loaded = loaded.unwrap_or_else(|report| panic!("{}", report.render("", false)));
    assert_eq!(loaded.config.roles.len(), 2);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings.render("", false));
    assert!(shown.lines().filter(|line| !line.is_empty()).count() <= 10, "it is to be short");
}

#[test]
fn the_files_that_it_names_are_there() {
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
        assert!(path.exists(), "{link}");
    }
}

#[test]
fn the_commands_that_it_names_exist() {
    let help =
        std::process::Command::new(env!("CARGO_BIN_EXE_roletap")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for word in README.split("roletap ").skip(1).filter_map(|rest| rest.split_whitespace().next()) {
        let word = word.trim_matches(|c: char| !c.is_ascii_lowercase() && c != '-');
        if ["check", "doctor", "run", "status", "env", "exec", "policy", "credential-process"]
            .contains(&word)
        {
            assert!(help.contains(&format!("\n  {word} ")), "{word} is not in\n{help}");
        }
    }
}

/// Each file of ARCHITECTURE.md lies at the root or in a crate, and each test is one.
#[test]
fn the_map_of_the_code_names_what_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut sources = Vec::new();
    for folder in ["src", "crates", "tests/it", "tests/house"] {
        rust_files(&root.join(folder), &mut sources);
    }
    let code: String = sources.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut wrong = Vec::new();
    for name in map.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let path = name.strip_prefix("./").unwrap_or(name);
        if path.contains([' ', '*', '[']) || path.starts_with(['/', '.']) {
            continue;
        }
        let is_test = name.chars().all(is_word) && name.matches('_').count() >= 3;
        let is_path = path.trim_end_matches('/').contains('/')
            || [".rs", ".md", ".toml", ".sh"].iter().any(|end| path.ends_with(end));
        let is_there = if is_test {
            code.contains(&format!("fn {name}("))
        } else if is_path {
            root.join(path).exists() || sources.iter().any(|source| source.ends_with(path))
        } else {
            true
        };
        if !is_there {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not there any more: {wrong:?}");
}

fn rust_files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
