//! One `[role.NAME]`, with `[defaults]` standing in for what it leaves out.

use std::sync::Arc;
use std::time::Duration;

use super::region::partition_of;
use super::session_name::{TemplateVariables, names_host};
use super::text::{group_name, inline_or_file, not_blank, refuse_duplicates};
use super::{Context, callers, credentials_file, durations, operation, policy, tags};
use crate::config::diagnostics::Problem;
use crate::config::toml::{Located, Section};
use crate::lifecycle::longest_remaining;
use crate::role::{
    AssumeRole, Base, ExternalId, InvalidValue, OnDenied, RefreshPolicy, Role, RoleArn, RoleName,
    SessionDuration, SessionName, Source, SourceIdentity, TokenIdentity, TokenSource,
};

const DEFAULT_DURATION: i64 = 3600;
const DEFAULT_SESSION_NAME: &str = "{role}-{hostname}";
const ON_DENIED: &[(&str, OnDenied)] = &[("keep", OnDenied::Keep), ("drop", OnDenied::Drop)];

/// A role that does not know yet who signs for it.
pub(crate) struct Draft {
    /// Its base is the default source until its chain is resolved.
    pub(crate) role: Role,
    /// `source`, as written.
    pub(crate) source: Option<Located<String>>,
    /// A token in place of a source.
    pub(crate) token: Option<TokenIdentity>,
}

/// Facts for lints that are no part of the role itself.
#[derive(Default)]
pub(crate) struct Notes {
    /// `accept_warnings`, as written.
    pub(crate) accepted: Vec<Located<String>>,
    /// Keys whose templates name this host.
    pub(crate) names_host: Vec<&'static str>,
}

/// Reads a role. There is no draft where something without a default is missing or wrong, which has been told.
pub(crate) fn read(
    name: &RoleName,
    section: Section<'_>,
    context: &Context<'_>,
) -> (Option<Draft>, Notes) {
    let mut notes = Notes::default();
    let draft = read_draft(name, &section, context, &mut notes);
    let accepted = section.strings("accept_warnings").map(|found| found.value);
    notes.accepted.extend(accepted.into_iter().flatten().map(|id| id.map(str::to_owned)));
    section.finish();
    (draft, notes)
}

/// Reads a role for its questions alone.
pub(crate) fn learn_keys(section: Section<'_>, context: &Context<'_>) {
    if let Ok(name) = RoleName::parse("any") {
        read(&name, section, context);
    }
}

fn read_draft(
    name: &RoleName,
    section: &Section<'_>,
    context: &Context<'_>,
    notes: &mut Notes,
) -> Option<Draft> {
    let duration = section
        .integer("duration_seconds", |seconds| {
            SessionDuration::from_secs(seconds, context.unsafe_short_sessions)
        })
        .or_else(|| SessionDuration::from_secs(DEFAULT_DURATION, false).ok());
    let required = section.boolean("required").is_none_or(|found| found.value);
    let on_denied = section.choice(
        "on_denied",
        ON_DENIED,
        "\"keep\" (vend until expiry) or \"drop\" (a revoked trust bites at once)",
    );
    let min_remaining = section.text("min_remaining", |text| {
        let example = Duration::from_secs(1800);
        let most = longest_remaining(Duration::from_secs(SessionDuration::LONGEST.into()));
        durations::parse(text, example, Duration::ZERO..=most)
    });
    let arn = read_arn(section, context);
    let account_id = read_account_id(arn.as_ref(), section);
    let token = read_token(section);
    let callers = callers::read(section, context);
    let credentials_file = credentials_file::read(section, &token, &callers);
    let minimum_session_token_size =
        section.number("minimum_session_token_size", 0..=4096, " bytes");
    let allow_self_assume = section.flag("allow_self_assume");
    let template = Template {
        section,
        variables: TemplateVariables { role: Some(name), arn: arn.as_ref(), host: context.host },
    };
    let (request, source, base_token) = read_request(&template, context, notes);
    let role = Role {
        name: name.clone(),
        request: request?,
        duration: duration?,
        required,
        terms: RefreshPolicy {
            on_denied: on_denied.unwrap_or_default(),
            min_remaining: min_remaining.unwrap_or_default(),
        },
        account_id,
        minimum_session_token_size,
        allow_self_assume,
        token,
        callers,
        credentials_file,
    };
    Some(Draft { role, source, token: base_token })
}

/// What is asked of STS, and who signs it or which token is shown.
fn read_request(
    template: &Template<'_>,
    context: &Context<'_>,
    notes: &mut Notes,
) -> (Option<AssumeRole>, Option<Located<String>>, Option<TokenIdentity>) {
    let Template { section, variables: TemplateVariables { arn, .. } } = *template;
    let session_name = match section.string("role_session_name") {
        Some(text) => template.fill_in("role_session_name", text, SessionName::parse, notes),
        None => {
            notes.names_host.push("role_session_name");
            template.variables.default_name(DEFAULT_SESSION_NAME, section)
        }
    };
    let source_identity = section.string("source_identity").and_then(|text| {
        // Said of the template, since filling it in replaces the colon.
        let identity = SourceIdentity::check_prefix(text.value);
        section.diagnostics.accept(text.at, "`source_identity`", identity)?;
        template.fill_in("source_identity", text, SourceIdentity::parse, notes)
    });
    // Editors and `echo` end a file with a newline that nobody means.
    let from_file = |text: &str| ExternalId::parse(text.trim_end_matches(['\n', '\r']));
    let keys = ["external_id", "external_id_file"];
    let external_id = inline_or_file(section, keys, "text", context, ExternalId::parse, from_file);
    let (keys, parse) = (["policy", "policy_file"], policy::session_policy);
    let policy = inline_or_file(section, keys, "policy", context, parse, parse);
    let policy_arns = read_policy_arns(arn, section);
    let tags = tags::read(section);
    let transitive_tag_keys = tags::read_transitive(section, &tags);
    let (source, base_token) = operation::read(section, policy.as_deref(), &policy_arns);
    let request = arn.zip(session_name).map(|(role_arn, session_name)| AssumeRole {
        role_arn: role_arn.clone(),
        session_name,
        external_id,
        policy,
        policy_arns,
        tags,
        transitive_tag_keys,
        source_identity,
        base: Base::Source(Arc::new(Source::default_chain())),
    });
    (request, source, base_token)
}

fn read_arn(section: &Section<'_>, context: &Context<'_>) -> Option<RoleArn> {
    section.require("role_arn", "add role_arn = \"arn:aws:iam::ACCOUNT:role/NAME\"");
    let arn = section.text_at("role_arn", |text| RoleArn::parse(text, context.custom_endpoint))?;
    if let Some(region) = &context.region
        && let Some(regions) = partition_of(&region.value)
        && regions != arn.value.partition()
    {
        let message = format!(
            "`role_arn` is of the partition `{}`, but the region {} is of `{regions}`",
            arn.value.partition(),
            region.value
        );
        section.diagnostics.emit(
            Problem::new(arn.at, message)
                .and("this role", region.at, "this region")
                .help("a session cannot cross partitions: correct one of them"),
        );
    }
    Some(arn.value)
}

/// Names of a role that are made from templates.
struct Template<'t> {
    section: &'t Section<'t>,
    variables: TemplateVariables<'t>,
}

impl Template<'_> {
    /// Fills in a template and parses what comes out.
    fn fill_in<T>(
        &self,
        key: &'static str,
        template: Located<&str>,
        parse: impl FnOnce(&str) -> Result<T, InvalidValue>,
        notes: &mut Notes,
    ) -> Option<T> {
        let Located { value: template, at } = template;
        if names_host(template) {
            notes.names_host.push(key);
        }
        let diagnostics = self.section.diagnostics;
        let expanded = self.variables.expand(template);
        let text = diagnostics.accept(at, &format!("`{key}`"), expanded)?;
        // Without an ARN two variables are empty; what that does to the name is no second problem.
        self.variables.arn?;
        let subject = match self.variables.role {
            Some(name) if text != template => {
                format!("`{key}` becomes `{text}` for the role {name}, which")
            }
            Some(_) | None => format!("`{key}`"),
        };
        diagnostics.accept(at, &subject, parse(&text))
    }
}

fn read_policy_arns(role: Option<&RoleArn>, section: &Section<'_>) -> Vec<String> {
    let Some(found) = section.strings("policy_arns") else {
        return Vec::new();
    };
    if found.value.len() > policy::MAX_POLICY_ARNS {
        let message = format!("`policy_arns` has {} entries", found.value.len());
        let help = format!("expected at most {}", policy::MAX_POLICY_ARNS);
        section.diagnostics.emit(Problem::new(found.at, message).help(help));
    }
    let message = "`policy_arns` holds the same policy twice";
    refuse_duplicates(section, &found.value, str::eq, message, "remove one");
    section.accept_each(&found.value, "`policy_arns`", |text| policy::policy_arn(text, role))
}

fn read_account_id(role: Option<&RoleArn>, section: &Section<'_>) -> bool {
    let Some(found) = section.boolean("account_id") else {
        return false;
    };
    if found.value && role.is_some_and(|role| role.account_id().is_empty()) {
        section.diagnostics.emit(
            Problem::new(found.at, "`account_id` is true, but the role's ARN has no account")
                .help("remove it: there is nothing to put in the answer"),
        );
    }
    found.value
}

fn read_token(section: &Section<'_>) -> TokenSource {
    let given = section.one_of(&["token_group", "token_file", "unsafe_no_token"]);
    let no_token = section.flag("unsafe_no_token");
    match given {
        Some("unsafe_no_token") if no_token => TokenSource::None,
        Some("token_file") => {
            TokenSource::File(section.path("token_file", not_blank).unwrap_or_default())
        }
        Some(_) | None => TokenSource::Generated { group: section.text("token_group", group_name) },
    }
}
