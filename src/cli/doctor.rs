//! `roletap doctor`: gathers facts, and leaves what follows from them to [`roletap_core::doctor`].

mod assume;
mod bundle;
mod fronts;
mod inspect;
mod s3;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::Value;
use zeroize::Zeroizing;

use super::env::Settings;
use super::fetch::{DaemonResponse, ask_admin, authorization, fetch_nothing};
use super::{ExitStatus, Failure, environment, load, print, role, runtime};
use crate::aws_hosts;
use crate::clock::Skew;
use crate::metrics::Metrics;
use crate::tokens::{self, Digest};
use roletap_core::config::Config;
use roletap_core::doctor::storage::{S3Location, S3Operation};
use roletap_core::doctor::{Diagnosis, Finding, Mark, consumer, daemon, host, storage};
use roletap_core::role::Role;

/// The arguments of `roletap doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Roles of the configuration; without one, all of them
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
    /// Look at the environment of this process too
    #[arg(long, value_name = "PID", group = "consumer")]
    pid: Option<u32>,
    /// Look at the environment that this unit sets too: a name for systemctl, or the path of a unit file
    #[arg(long, value_name = "UNIT", group = "consumer")]
    unit: Option<String>,
    /// Look at the variables in this file too
    #[arg(long, value_name = "FILE", group = "consumer")]
    env_file: Option<PathBuf>,
    /// Check that this user may read the token file
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Assume each role also without external id, tags and session policies: what makes the difference, and whether the
    /// role demands its external id
    #[arg(long)]
    probe: bool,
    /// List here with credentials that the running daemon vends for the one ROLE
    #[arg(long, value_name = "s3://BUCKET/PREFIX")]
    s3: Option<String>,
    /// Write and delete a probe object there, too
    #[arg(long, requires = "s3")]
    s3_write: bool,
    /// Another S3 than that of AWS; without it AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL are looked at
    #[arg(long, value_name = "URL", requires = "s3")]
    s3_endpoint: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write what a helper needs to know into this file, without secrets
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

/// Looks at everything, and fails if something does.
pub fn doctor(path: &Path, arguments: &DoctorArguments) -> Result<(), Failure> {
    environment::reexec_sanitized()?;
    let loaded = load(path, "nothing was looked at")?;
    let config = &loaded.config;
    let wanted = wanted(config, &arguments.roles)?;
    let place = arguments.s3.as_deref().map(|text| place(text, &wanted));
    let place = place.transpose()?;
    let bundle = arguments.bundle.as_deref();
    let bundle = bundle.map(|file| Ok((file, bundle::open(file)?)));
    let bundle = bundle.transpose()?;
    let runtime = runtime()?;

    let mut report = Diagnosis::default();
    let skew = Arc::new(Skew::new());
    let metrics = Metrics::new()
        .map_err(|error| Failure::new(ExitStatus::Failed, format!("cannot count: {error}")))?;
    let asking = assume::Asking { config, skew: skew.clone(), metrics: Arc::new(metrics) };
    runtime.block_on(asking.assume(&wanted, arguments.probe, &mut report));
    // What the shell has tells of the workloads that are started like this; we ourselves spare loopback.
    let variables = environment::original();
    let mut findings = vec![host::clock(skew.seconds())];
    // Where the SDK knows no such endpoint, every role above has failed with its words.
    if let Ok(endpoint) = sts_endpoint(config) {
        let listen = config.server.listen.first().copied();
        findings.extend(host::proxies(&variables, &endpoint, listen));
    }
    report.add("this host", findings);

    let workload = workload(arguments)?;
    let overview = look_at_daemon(config, &wanted, workload.as_ref(), arguments, &mut report)?;
    let of_fronts = fronts::findings(config, &wanted, overview.is_some());
    report.add("the fronts", of_fronts);
    if let Some(workload) = workload {
        let facts = workload_facts(config, &wanted, workload);
        report.add(format!("the workload: {}", facts.name), facts.findings());
    }
    if let (Some(place), [role]) = (&place, wanted.as_slice()) {
        let findings = storage_findings(config, role, place, arguments, &runtime);
        report.add(format!("S3 as `{}`", role.name), findings);
    }

    if let Some(file) = bundle {
        let metrics = ask_admin(config, "GET", "/metrics").ok();
        bundle::write(file, path, config, &report, overview.as_ref(), metrics)?;
    }
    if arguments.json {
        print(&format!("{:#}\n", report.json()))?;
    } else {
        print(&report.text())?;
    }
    if report.count(Mark::Failed) > 0 {
        return Err(Failure { status: ExitStatus::Unavailable, message: String::new() });
    }
    Ok(())
}

fn wanted<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Role>, Failure> {
    if names.is_empty() {
        return Ok(config.roles.values().map(AsRef::as_ref).collect());
    }
    names.iter().map(|name| role(config, name)).collect()
}

fn place(text: &str, wanted: &[&Role]) -> Result<S3Location, Failure> {
    let place =
        S3Location::parse(text).map_err(|what| Failure::usage(format!("--s3 {text}: {what}")))?;
    match wanted {
        [_] => Ok(place),
        _ => Err(Failure::usage("--s3 is for one role: name it")),
    }
}

/// The URL of STS in the home region, for what a proxy makes of it.
fn sts_endpoint(config: &Config) -> Result<String, String> {
    let sts = &config.sts;
    let custom = sts.endpoint_url(&sts.region);
    custom.map_or_else(|| aws_hosts::sts_url(&sts.region, sts.use_fips, sts.use_dual_stack), Ok)
}

// The daemon.

fn look_at_daemon(
    config: &Config,
    wanted: &[&Role],
    workload: Option<&inspect::Workload>,
    arguments: &DoctorArguments,
    report: &mut Diagnosis,
) -> Result<Option<Value>, Failure> {
    let overview = ask_admin(config, "GET", "/roles").and_then(|answer| answer.json());
    let mut findings = vec![match &overview {
        Ok(overview) => daemon::answers(overview),
        Err(failure) => daemon::silent(words(failure)),
    }];
    findings.extend(overview.as_ref().ok().and_then(daemon::callers));
    let reader = match &arguments.user {
        Some(name) => Some(inspect::user(name).map_err(Failure::usage)?),
        None => workload.and_then(|workload| workload.reader.clone()),
    };
    for role in wanted {
        if let Ok(overview) = &overview {
            findings.push(daemon::holds(role, overview));
        }
        let Some(path) = tokens::path_of(config, role) else {
            findings.push(Finding::note(
                "token-file",
                format!(
                    "role `{}` asks for no token: whoever reaches the endpoint gets it",
                    role.name
                ),
            ));
            continue;
        };
        let settings = Settings::of(config, role);
        let entries = inspect::entries(&path);
        if overview.is_err() && !path.exists() {
            findings.push(Finding::note(
                "token-file",
                format!("{} is not there: the daemon writes it when it starts", path.display()),
            ));
            continue;
        }
        let names = entries.as_ref().map(|(file, _)| inspect::names(file));
        let (owner, group) = names.unwrap_or_default();
        let text = inspect::token_text(&path);
        findings.extend(daemon::token_file(
            role,
            entries.as_ref().map(|(file, above)| (file, above.as_slice())).map_err(Clone::clone),
            (&owner, &group),
            text.as_ref().map(|text| text.as_str()),
            reader.as_ref(),
        ));
        if let (Ok(_), Ok(settings)) = (&overview, settings) {
            let token = settings.token.as_ref().map(|(token, _)| token.as_str());
            let asked = fetch_nothing(&settings.url, authorization(token).as_slice());
            findings.push(match asked {
                Ok(answer) => daemon::endpoint(&settings.url, answer.status, &code_of(&answer)),
                Err(failure) => daemon::silent(words(&failure)),
            });
        }
    }
    report.add("the daemon", findings);
    Ok(overview.ok())
}

fn code_of(answer: &DaemonResponse) -> String {
    answer.text("code").unwrap_or_default()
}

fn words(failure: &Failure) -> &str {
    let message = failure.message.trim_end();
    message.strip_prefix("error: ").unwrap_or(message)
}

// The workload.

fn workload(arguments: &DoctorArguments) -> Result<Option<inspect::Workload>, Failure> {
    let found = match (&arguments.pid, &arguments.unit, &arguments.env_file) {
        (Some(pid), _, _) => inspect::process(*pid),
        (_, Some(unit), _) => inspect::unit(unit),
        (_, _, Some(file)) => inspect::env_file(file),
        (None, None, None) => return Ok(None),
    };
    found.map(Some)
}

fn workload_facts<'c>(
    config: &'c Config,
    wanted: &[&'c Role],
    workload: inspect::Workload,
) -> consumer::ConsumerFacts<'c> {
    let token = |role: &Role| {
        let path = tokens::path_of(config, role)?;
        let text = inspect::token_text(&path)?;
        Some(Digest::of(text.trim().as_bytes()))
    };
    let named = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    let token_file = workload.variables.get(named).filter(|path| !path.is_empty()).map(|path| {
        inspect::regular(Path::new(path.as_str()))
            .and_then(std::fs::read_to_string)
            .map(Zeroizing::new)
            .map_err(|error| error.to_string())
    });
    let metadata = workload
        .variables
        .get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        .map(|url| url.as_str().to_owned());
    consumer::ConsumerFacts {
        role: match wanted {
            [role] => Some(role.name.as_str()),
            _ => None,
        },
        listen: &config.server.listen,
        tokens: config.roles.values().map(|role| (role.name.as_str(), token(role))).collect(),
        metadata_answers: inspect::metadata_answers(metadata.as_deref()),
        name: workload.name,
        variables: workload.variables,
        token_file,
    }
}

// S3.

fn storage_findings(
    config: &Config,
    role: &Role,
    place: &S3Location,
    arguments: &DoctorArguments,
    runtime: &tokio::runtime::Runtime,
) -> Vec<Finding> {
    let credentials =
        Settings::of(config, role).and_then(|settings| settings.ask()).and_then(|answer| {
            match answer.status {
                200 => Ok(answer),
                _ => Err(answer.failure("the daemon vends nothing")),
            }
        });
    let credentials = match credentials {
        Ok(answer) => s3::Vended::parse(&answer.body),
        Err(failure) => Err(words(&failure).to_owned()),
    };
    let vended = match credentials {
        Ok(vended) => vended,
        Err(what) => {
            let unasked = Finding::failed("s3", format!("S3 was not asked: {what}"))
                .means("S3 is tried with what the running daemon vends, and that is nothing")
                .change("look at the daemon and the role, above");
            return vec![unasked];
        }
    };
    let by_variable = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()));
    let endpoint = arguments.s3_endpoint.clone().or(by_variable);
    let mut client = s3::S3Client::new(config, endpoint.as_deref(), vended);
    let mut operations = vec![S3Operation::List];
    if arguments.s3_write {
        operations.extend([S3Operation::Put, S3Operation::Delete]);
    }
    let mut findings = Vec::new();
    for operation in operations {
        let answer = runtime.block_on(client.ask(place, operation));
        let finding = storage::finding(role, place, operation, &answer);
        let failed = finding.mark == Mark::Failed;
        findings.push(finding);
        if failed && operation == S3Operation::Put {
            // There is nothing to delete.
            break;
        }
    }
    findings
}
