//! `roletap policy`

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use clap::{Args, ValueEnum};

use super::{Failure, environment, load, print, print_notice, role, runtime};
use crate::metrics::Metrics;
use crate::source::load_once;
use crate::sts::Client;
use roletap_core::config::Config;
use roletap_core::policy::{
    Access, Bucket, BucketName, KmsKey, Language, Policy, Prefix, SessionNames, check_exact,
};
use roletap_core::role::{Base, InvalidValue, Principal, Role};

/// The arguments of `roletap policy`.
#[derive(Debug, Args)]
pub struct PolicyArguments {
    /// A role of the configuration
    #[arg(required_unless_present = "all")]
    role: Option<String>,
    /// All roles that a source signs for, with --kind caller
    #[arg(long, conflicts_with = "role")]
    all: bool,
    /// Source to print the policy for, where several sign for roles (with --all)
    #[arg(long, value_name = "NAME", requires = "all")]
    source: Option<String>,
    /// Kind of policy to print
    #[arg(long, value_enum, default_value_t)]
    kind: PrintedPolicy,
    /// In which language
    #[arg(long, value_enum, default_value_t)]
    format: PolicyFormat,
    /// User or role that signs; without it STS is asked for roletap's own identity (trust), or nobody is named (caller)
    #[arg(long, value_name = "ARN")]
    principal: Option<String>,
    /// Let in only sessions of these names, such as 'orders-*' (trust)
    #[arg(long, value_name = "PATTERN")]
    session_name: Option<String>,
    /// The bucket (s3)
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Only what lies below this (s3)
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The key that objects are encrypted with, where it is one of the owner's (s3)
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
    /// Read, but neither write nor delete (s3)
    #[arg(long)]
    read_only: bool,
}

/// The kinds of policy that `roletap policy` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PrintedPolicy {
    /// Trust policy: lets roletap assume the role; for the role's owner
    #[default]
    Trust,
    /// Identity policy: lets roletap's base identity assume roles; for the owner of that identity
    Caller,
    /// Bucket permissions of the role; for the role's owner
    S3,
}

/// How a policy is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum PolicyFormat {
    /// As the AWS CLI takes it
    #[default]
    Json,
    /// A data source
    Terraform,
    /// A CloudFormation template
    #[value(name = "cloudformation")]
    CloudFormation,
}

/// Prints a policy, and says on standard error what to do with it.
pub fn policy(config: &Path, arguments: &PolicyArguments) -> Result<(), Failure> {
    check_combination(arguments)?;
    environment::reexec_sanitized()?;
    let loaded = load(config, "no policy was printed")?;
    let config = &loaded.config;
    let named = arguments.role.as_deref();
    let (roles, left_out) = match (named, arguments.kind) {
        (Some(name), _) => (vec![role(config, name)?], None),
        (None, PrintedPolicy::Caller) => signed_for(config, arguments.source.as_deref())?,
        (None, PrintedPolicy::Trust | PrintedPolicy::S3) => {
            return Err(Failure::usage(
                "--all is for --kind caller: each role has a trust policy and permissions of its own",
            ));
        }
    };
    let relaxed = config.sts.endpoint_url(&config.sts.region).is_some();
    let given = parsed(arguments.principal.as_deref(), "--principal", |text| {
        Principal::parse(text, relaxed)
    })?;
    for role in &roles {
        let exact = check_exact(role.request.role_arn.as_str());
        exact.map_err(|refused| {
            Failure::usage(format!("`role_arn` of role {} {refused}", role.name))
        })?;
    }
    let language = match arguments.format {
        PolicyFormat::Json => Language::Json,
        PolicyFormat::Terraform => Language::Terraform,
        PolicyFormat::CloudFormation => Language::CloudFormation,
    };
    let write = |policy: Policy<'_>| {
        print(&policy.text(language))?;
        print_notice(&policy.words(language));
        Ok(())
    };
    match (arguments.kind, roles.as_slice()) {
        (PrintedPolicy::Caller, roles) => {
            let mut principal = given;
            for role in roles {
                principal = who_is_permitted(role, principal)?;
                check_principal(principal.as_ref(), role)?;
            }
            write(Policy::Caller { roles: roles.to_vec(), principal: principal.as_ref() })?;
            print_notice(&left_out.unwrap_or_default());
            Ok(())
        }
        (PrintedPolicy::Trust, [role]) => {
            let session_names =
                parsed(arguments.session_name.as_deref(), "--session-name", SessionNames::parse)?;
            let (principal, asked) = match given {
                Some(principal) => (principal, false),
                None => who_signs(config, role)?,
            };
            check_principal(Some(&principal), role)?;
            write(Policy::Trust {
                role,
                principal: &principal,
                session_names: session_names.as_ref(),
                own: config.sts.is_foreign(role.request.role_arn.account_id()) == Some(false),
            })?;
            if asked {
                print_notice(&format!(
                    "note: STS says that this shell signs as {principal}. If the daemon signs as \
                     another, pass --principal.\n"
                ));
            }
            Ok(())
        }
        (PrintedPolicy::S3, [role]) => {
            let bucket = bucket(arguments, role)?;
            write(Policy::Bucket { role, bucket: &bucket })
        }
        (PrintedPolicy::Trust | PrintedPolicy::S3, _) => Err(Failure::usage("name one role")),
    }
}

/// Refuses combinations of arguments that would print an empty policy.
fn check_combination(arguments: &PolicyArguments) -> Result<(), Failure> {
    use PrintedPolicy::{Caller, S3, Trust};
    let belongs: [(&str, bool, &[PrintedPolicy], &str); 7] = [
        ("--source", arguments.source.is_some(), &[Caller], "caller"),
        ("--principal", arguments.principal.is_some(), &[Trust, Caller], "trust or caller"),
        ("--session-name", arguments.session_name.is_some(), &[Trust], "trust"),
        ("--bucket", arguments.bucket.is_some(), &[S3], "s3"),
        ("--prefix", arguments.prefix.is_some(), &[S3], "s3"),
        ("--kms-key", arguments.kms_key.is_some(), &[S3], "s3"),
        ("--read-only", arguments.read_only, &[S3], "s3"),
    ];
    for (name, given, kinds, words) in belongs {
        if given && !kinds.contains(&arguments.kind) {
            return Err(Failure::usage(format!("{name} is for --kind {words}")));
        }
    }
    Ok(())
}

fn bucket(arguments: &PolicyArguments, role: &Role) -> Result<Bucket, Failure> {
    let name = parsed(arguments.bucket.as_deref(), "--bucket", BucketName::parse)?
        .ok_or_else(|| Failure::usage("--kind s3 needs --bucket, and mostly --prefix"))?;
    let partition = role.request.role_arn.partition();
    Ok(Bucket {
        name,
        prefix: parsed(arguments.prefix.as_deref(), "--prefix", Prefix::parse)?,
        kms_key: parsed(arguments.kms_key.as_deref(), "--kms-key", |text| {
            KmsKey::parse(text, partition)
        })?,
        access: match arguments.read_only {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        },
    })
}

fn check_principal(principal: Option<&Principal>, role: &Role) -> Result<(), Failure> {
    let Some(principal) = principal else {
        return Ok(());
    };
    check_exact(principal.arn())
        .map_err(|refused| Failure::usage(format!("the principal {refused}")))?;
    let partition = role.request.role_arn.partition();
    if principal.partition() == partition {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{principal} is of the partition `{}`, and role {} of `{partition}`: no session crosses partitions",
        principal.partition(),
        role.name
    )))
}

/// The roles that one source signs for: one identity's permissions are of no use to another. And a note on the others.
fn signed_for<'a>(
    config: &'a Config,
    asked: Option<&str>,
) -> Result<(Vec<&'a Role>, Option<String>), Failure> {
    let mut signed: BTreeMap<&str, Vec<&Role>> = BTreeMap::new();
    for role in config.roles.values() {
        if let Base::Source(source) = &role.request.base {
            signed.entry(source.name.as_str()).or_default().push(role);
        }
    }
    let in_use: Vec<String> = signed
        .iter()
        .map(|(source, roles)| {
            let names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
            format!("{source} ({})", names.join(", "))
        })
        .collect();
    let in_use = in_use.join("; ");
    let sources: Vec<&str> = signed.keys().copied().collect();
    let source = match (asked, sources.as_slice()) {
        (Some(asked), _) => asked,
        (None, [only]) => only,
        (None, []) => {
            return Err(Failure::usage(
                "no role is signed for by a source; for a chained role name it, as in `roletap policy ROLE --kind caller`",
            ));
        }
        (None, _) => {
            return Err(Failure::usage(format!(
                "several sources sign for roles, and a policy belongs to one identity: {in_use}; name one with --source"
            )));
        }
    };
    let Some(roles) = signed.remove(source) else {
        return Err(Failure::usage(format!(
            "no role is signed for by a source `{source}`; in use: {in_use}"
        )));
    };
    let left_out: Vec<String> = config
        .roles
        .values()
        .filter_map(|role| match &role.request.base {
            Base::Source(other) if other.name.as_str() == source => None,
            Base::Source(other) => Some(format!("{} (the source {} signs)", role.name, other.name)),
            Base::Role(parent) => Some(format!("{} (role.{} signs)", role.name, parent.name)),
            Base::Token(_) => Some(format!("{} (a token is shown, nobody signs)", role.name)),
        })
        .collect();
    let note = format!(
        "note: Left out: {}. The source {source} does not sign for them.\n",
        left_out.join(", ")
    );
    Ok((roles, (!left_out.is_empty()).then_some(note)))
}

/// Returns the principal whose permissions have to allow this role: a chained role's parent, else the given one.
fn who_is_permitted(role: &Role, given: Option<Principal>) -> Result<Option<Principal>, Failure> {
    match &role.request.base {
        Base::Source(_) => Ok(given),
        Base::Role(parent) => {
            let signs =
                Principal::parse(parent.request.role_arn.as_str(), true).map_err(Failure::usage)?;
            match given {
                Some(given) if given.arn() != signs.arn() => Err(Failure::usage(format!(
                    "role {} is chained to role.{}, which signs for it as {signs}: it is that role that needs the policy, \
                     not {given}; leave --principal out",
                    role.name, parent.name
                ))),
                Some(_) | None => Ok(Some(signs)),
            }
        }
        Base::Token(_) => Err(Failure::usage(format!(
            "role {} is assumed with a token of an identity provider, so nobody signs for it and no identity of AWS needs \
             a policy",
            role.name
        ))),
    }
}

/// Returns the identity that signs for this role, and whether STS had to be asked for it.
fn who_signs(config: &Config, role: &Role) -> Result<(Principal, bool), Failure> {
    let base = &role.request.base;
    let known = match base {
        Base::Role(parent) => Some(&parent.request.role_arn),
        Base::Source(source) => source.origin.role_arn(),
        Base::Token(_) => {
            return Err(Failure::usage(format!(
                "role {} is assumed with a token of an identity provider, so its trust policy names that provider and no \
                 principal of AWS",
                role.name
            )));
        }
    };
    if let Some(arn) = known {
        return Principal::parse(arn.as_str(), true)
            .map(|principal| (principal, false))
            .map_err(Failure::usage);
    }
    let Some(source) = base.source() else {
        return Err(Failure::usage(format!("nobody signs for role {}", role.name)));
    };
    let cannot = |what: &dyn std::fmt::Display| {
        Failure::unavailable(format!(
            "cannot ask STS for roletap's base identity: {what}; pass --principal ARN, the user or role that roletap signs as"
        ))
    };
    let runtime = runtime()?;
    let clock = SharedTimeSource::new(SystemTimeSource::new());
    runtime.block_on(async {
        let metrics = Arc::new(Metrics::new().map_err(|error| cannot(&error))?);
        let sts = Client::new(&config.sts, clock.clone(), Arc::default(), metrics);
        let base = load_once(source, &clock, &sts).await.map_err(|error| {
            cannot(&format!("no base credentials from the source {}: {error}", source.name))
        })?;
        let identity = sts.get_caller_identity(base, sts.all_regions_timeout()).await;
        let identity = identity.map_err(|error| cannot(&error))?;
        Ok((identity.principal().clone(), true))
    })
}

fn parsed<T>(
    text: Option<&str>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
) -> Result<Option<T>, Failure> {
    text.map(parse).transpose().map_err(|refused| Failure::usage(format!("{name} {refused}")))
}
