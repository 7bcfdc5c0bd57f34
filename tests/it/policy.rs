//! `roletap policy`: what is printed, to the letter, and who is asked for the principal.
//!
//! The golden files of `tests/policy/golden` hold a document in each of its languages, and what is said beside it.
//! `UPDATE_GOLDEN=1` rewrites them. That IAM makes of them what they promise is shown by `tests/policy/run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::harness::{Finished, arn, finish, with};
use fake_sts::{FakeSts, Fault};

const USER: &str = "arn:aws:iam::777788889999:user/sinks";
const SESSION: &str = "arn:aws:sts::777788889999:assumed-role/sinks/i-0abc";
const KEY: &str = "arn:aws:kms:eu-central-1:444455556666:key/0f1e2d3c-0000-4000-8000-000000000000";

/// Name, configuration, arguments.
const GOLDEN: &[(&str, &str, &[&str])] = &[
    ("trust", "roletap.toml", &["orders", "--principal", USER]),
    (
        "trust-with-everything",
        "roletap.toml",
        &[
            "audit",
            "--principal",
            "arn:aws:iam::777788889999:role/data/sinks",
            "--session-name",
            "audit-*",
        ],
    ),
    (
        "trust-without-external-id",
        "roletap.toml",
        &["billing", "--principal", SESSION, "--session-name", "orders-*"],
    ),
    ("trust-in-one-account", "roletap.toml", &["1.ours", "--principal", USER]),
    (
        "trust-of-an-account",
        "roletap.toml",
        &["orders", "--principal", "arn:aws:iam::777788889999:root"],
    ),
    (
        "trust-in-china",
        "china.toml",
        &["orders", "--principal", "arn:aws-cn:iam::777788889999:user/sinks"],
    ),
    ("caller", "roletap.toml", &["orders", "--kind", "caller"]),
    ("caller-of-all", "roletap.toml", &["--all", "--kind", "caller", "--principal", USER]),
    ("trust-in-a-chain", "chain.toml", &["leaf"]),
    ("caller-in-a-chain", "chain.toml", &["leaf", "--kind", "caller"]),
    (
        "caller-of-all-that-we-sign-for",
        "chain.toml",
        &["--all", "--kind", "caller", "--principal", USER],
    ),
    (
        "s3",
        "roletap.toml",
        &["orders", "--kind", "s3", "--bucket", "acme-exports", "--prefix", "sinks/orders/"],
    ),
    (
        "s3-with-a-key",
        "roletap.toml",
        &[
            "orders",
            "--kind",
            "s3",
            "--bucket",
            "acme-exports",
            "--prefix",
            "orders",
            "--kms-key",
            KEY,
        ],
    ),
    (
        "s3-read-only-in-gov",
        "gov.toml",
        &["orders", "--kind", "s3", "--bucket", "acme-exports", "--read-only"],
    ),
    (
        "s3-in-china",
        "china.toml",
        &[
            "orders",
            "--kind",
            "s3",
            "--bucket",
            "acme-exports",
            "--prefix",
            "orders",
            "--kms-key",
            "arn:aws-cn:kms:cn-north-1:111122223333:key/0f1e2d3c",
        ],
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy")
}

/// Offline: nothing to sign with, and no way out.
fn policy(config: &str, arguments: &[&str]) -> Finished {
    finish(
        Command::new(env!("CARGO_BIN_EXE_roletap"))
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .arg("--config")
            .arg(folder().join(config))
            .arg("policy")
            .args(arguments),
    )
}

#[test]
fn every_policy_is_as_it_was() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let mut check = |name: String, found: &str| {
        let golden = folder().join("golden").join(&name);
        if update {
            fs::write(&golden, found).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{name}:\n{found}"));
        }
    };
    for (name, config, arguments) in GOLDEN {
        let mut words = String::new();
        for (format, extension) in
            [("json", "json"), ("terraform", "tf"), ("cloudformation", "yaml")]
        {
            let done = policy(config, &[arguments, &["--format", format][..]].concat());
            assert_eq!(done.code, Some(0), "{name}: {}", done.stderr);
            check(format!("{name}.{extension}"), &done.stdout);
            for id in ["ws-7f3a", "acme:ws/90c1"] {
                assert!(!done.stderr.contains(id), "{name}: an external id in words");
            }
            words += &format!("--format {format}\n{}\n", done.stderr);
        }
        check(format!("{name}.txt"), &words);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn json_is_the_default_and_stands_alone() {
    let done = policy("roletap.toml", &["orders", "--principal", USER]);
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["Version"], "2012-10-17");
    let statement = &document["Statement"][0];
    assert_eq!(statement["Principal"]["AWS"], USER);
    assert_eq!(statement["Condition"]["StringEquals"]["sts:ExternalId"], "ws-7f3a");
}

#[test]
fn sts_is_asked_who_signs() {
    let sts = FakeSts::start().with_base_arn(SESSION);
    let daemon = with(&sts).role("orders").prepare();
    let done = daemon.run(&["policy", "orders"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        document["Statement"][0]["Principal"]["AWS"],
        "arn:aws:iam::777788889999:role/sinks"
    );
    assert!(done.stderr.contains("this shell signs as"));
    assert!(done.stderr.contains("to the principal by hand"));
    let asked: Vec<String> = sts.requests().into_iter().map(|sent| sent.action).collect();
    assert_eq!(asked, ["GetCallerIdentity"]);
    assert_eq!(sts.count(&arn("orders")), 0, "nothing was assumed");
}

#[test]
fn whoever_does_not_say_who_we_are_is_not_needed() {
    let sts = FakeSts::start();
    let daemon = with(&sts).role("orders").prepare();
    for (script, says) in [
        (Fault::status(405), "HTTP 405"),
        (Fault::Reset, "closed the connection"),
        (Fault::error(403, "InvalidClientTokenId", "no such key"), "InvalidClientTokenId"),
    ] {
        sts.any().always(script);
        let done = daemon.run(&["policy", "orders"]);
        assert_eq!(done.code, Some(69));
        assert_eq!(done.stdout, "");
        for text in ["cannot ask STS for roletap's base identity", says, "pass --principal ARN"] {
            assert!(done.stderr.contains(text), "{}", done.stderr);
        }
        let done = daemon.run(&["policy", "orders", "--principal", USER]);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    let done = policy("roletap.toml", &["orders"]);
    assert_eq!(done.code, Some(69));
    assert!(done.stderr.contains("no base credentials"), "{}", done.stderr);
    assert!(done.stderr.contains("pass --principal"), "{}", done.stderr);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_printed() {
    for (arguments, says) in [
        (&["nobody"][..], "no role `nobody`"),
        (&[][..], "required"),
        (&["--all"][..], "--all is for --kind caller"),
        (&["orders", "--bucket", "b"][..], "--bucket is for --kind s3"),
        (
            &["orders", "--kind", "caller", "--session-name", "x*"][..],
            "--session-name is for --kind trust",
        ),
        (
            &["orders", "--kind", "s3", "--principal", USER][..],
            "--principal is for --kind trust or caller",
        ),
        (&["orders", "--kind", "s3"][..], "needs --bucket"),
        (&["orders", "--principal", "*"][..], "--principal is everybody in the world"),
        (&["orders", "--principal", "777788889999"][..], "--principal is a whole account"),
        (
            &["orders", "--principal", "arn:aws-cn:iam::777788889999:user/x"][..],
            "no session crosses partitions",
        ),
        (&["orders", "--kind", "s3", "--bucket", "s3://acme/sinks"][..], "--bucket acme"),
        (
            &["orders", "--kind", "s3", "--bucket", "acme", "--prefix", "a*"][..],
            "--prefix holds '*'",
        ),
        (
            &["orders", "--kind", "s3", "--bucket", "acme", "--kms-key", "alias/x"][..],
            "--kms-key is not the ARN",
        ),
    ] {
        let done = policy("roletap.toml", arguments);
        assert_eq!(done.code, Some(64), "{arguments:?}: {}", done.stderr);
        assert_eq!(done.stdout, "", "{arguments:?}");
        assert!(done.stderr.contains(says), "{arguments:?}: {}", done.stderr);
    }
}

fn written(text: &str, arguments: &[&str]) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roletap.toml");
    fs::write(&path, text).unwrap();
    policy(path.to_str().unwrap(), arguments)
}

/// Resources of the statement that lets us assume.
fn assumed(done: &Finished) -> Value {
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    document["Statement"][0]["Resource"].clone()
}

#[test]
fn the_base_identity_gets_only_roles_that_it_signs_for() {
    let all = &["--all", "--kind", "caller"][..];
    let done = policy("chain.toml", all);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(assumed(&done), "arn:aws:iam::777788889999:role/data/hub");
    for left_out in ["spoke", "leaf", "shown"] {
        assert!(done.stderr.contains(left_out), "{}", done.stderr);
    }

    let done = policy("chain.toml", &["shown", "--kind", "caller"]);
    assert_eq!(done.code, Some(64), "{}", done.stderr);
    assert_eq!(done.stdout, "");
    assert!(
        done.stderr.contains("role shown is assumed with a token of an identity provider"),
        "{}",
        done.stderr
    );

    let done = policy("chain.toml", &["leaf", "--kind", "caller", "--principal", USER]);
    assert_eq!(done.code, Some(64), "{}", done.stderr);
    assert!(done.stderr.contains("role.spoke"), "{}", done.stderr);
}

#[test]
fn of_several_sources_one_has_to_be_named() {
    let text = "[sts]\nregion = \"eu-central-1\"\n[source.other]\nprofile = \"other\"\n\
        [role.one]\nrole_arn = \"arn:aws:iam::111122223333:role/one\"\n\
        [role.two]\nrole_arn = \"arn:aws:iam::111122223333:role/two\"\nsource = \"other\"\n";
    let all = &["--all", "--kind", "caller"][..];
    let done = written(text, all);
    assert_eq!(done.code, Some(64), "{}", done.stderr);
    assert_eq!(done.stdout, "");
    for says in ["default (one)", "other (two)", "--source"] {
        assert!(done.stderr.contains(says), "{}", done.stderr);
    }
    for (source, role, left_out) in [("default", "one", "two"), ("other", "two", "one")] {
        let done = written(text, &[all, &["--source", source][..]].concat());
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert_eq!(assumed(&done), format!("arn:aws:iam::111122223333:role/{role}"));
        let says = format!("Left out: {left_out}");
        assert!(done.stderr.contains(&says), "{}", done.stderr);
    }
    let done = written(text, &[all, &["--source", "third"][..]].concat());
    assert_eq!(done.code, Some(64), "{}", done.stderr);
    assert!(done.stderr.contains("no role is signed"), "{}", done.stderr);
}

#[test]
fn what_iam_reads_as_a_pattern_is_no_arn_of_a_policy() {
    for path in ["x*", "x?", "$(id)", "${aws:username}", "{a}"] {
        let arn = format!("arn:aws:iam::111122223333:role/{path}/a");
        let text = format!("[sts]\nregion = \"eu-central-1\"\n[role.a]\nrole_arn = \"{arn}\"\n");
        let user = format!("arn:aws:iam::111122223333:user/{path}/a");
        for (text, arguments) in [
            (text.as_str(), &["a", "--principal", USER][..]),
            (&text, &["a", "--kind", "caller"][..]),
            (&text, &["--all", "--kind", "caller"][..]),
            (&text, &["a", "--kind", "s3", "--bucket", "acme"][..]),
            (PLAIN, &["a", "--principal", &user][..]),
            (PLAIN, &["a", "--principal", &arn][..]),
            (PLAIN, &["a", "--kind", "caller", "--principal", &user][..]),
        ] {
            let done = written(text, arguments);
            assert_eq!(done.code, Some(64), "{path} {arguments:?}: {}", done.stderr);
            assert_eq!(done.stdout, "", "{path} {arguments:?}");
            assert!(done.stderr.contains("pattern"), "{}", done.stderr);
        }
    }
}

const PLAIN: &str =
    "[sts]\nregion = \"eu-central-1\"\n[role.a]\nrole_arn = \"arn:aws:iam::111122223333:role/a\"\n";

#[test]
fn what_a_shell_would_run_stands_in_quotes() {
    let text = PLAIN.replace("role/a", "role/it's;`id`/a");
    let done = written(&text, &["a", "--principal", USER]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let line = done.stderr.lines().find(|line| line.contains("create-role")).unwrap();
    let command = line.replacen("  aws", "printf '%s\\n'", 1);
    let shell = finish(Command::new("/bin/sh").arg("-c").arg(command));
    assert!(shell.stdout.contains("\n/it's;`id`/\n"), "{}", shell.stdout);
}

/// Each command of `docs/policies.md`, with the roles of the golden policies.
#[test]
fn the_commands_of_the_document_work() {
    let document = include_str!("../../docs/policies.md");
    let commands: Vec<&str> =
        document.lines().filter_map(|line| line.trim().strip_prefix("roletap policy ")).collect();
    assert!(commands.len() >= 6, "the document has changed");
    for command in commands {
        let command = command.split(" > ").next().unwrap();
        let mut arguments: Vec<&str> = command.split(' ').collect();
        if !command.contains("--kind") && !command.contains("--principal") {
            arguments.extend(["--principal", USER]);
        }
        let done = policy("roletap.toml", &arguments);
        assert_eq!(done.code, Some(0), "{command}: {}", done.stderr);
    }
}

/// And its configuration can be used, without a warning.
#[test]
fn the_configuration_of_the_document_can_be_used() {
    let document = include_str!("../../docs/policies.md");
    let blocks: Vec<&str> =
        document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roletap.toml");
    for text in [blocks[0].to_owned(), blocks.concat()] {
        fs::write(&path, text).unwrap();
        let done = finish(
            Command::new(env!("CARGO_BIN_EXE_roletap")).arg("check").arg("--config").arg(&path),
        );
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert!(!done.stdout.contains("warning"), "{}", done.stdout);
    }
}

#[test]
fn what_is_too_large_for_iam_says_so() {
    let mut text = fs::read_to_string(folder().join("roletap.toml")).unwrap();
    for number in 0..100 {
        text += &format!(
            "[role.r{number}]\nrole_arn = \"arn:aws:iam::111122223333:role/a/rather/long/path/r{number}\"\n"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roletap.toml");
    fs::write(&path, text).unwrap();
    let done = policy(path.to_str().unwrap(), &["--all", "--kind", "caller"]);
    assert_eq!(done.code, Some(0));
    assert!(done.stderr.contains("IAM takes 6144 characters"), "{}", done.stderr);
}
