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
