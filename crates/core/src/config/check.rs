//! The output of `roletap check`: pure, so that the command only reads, prints and exits.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Forecast, FrontSocket, HttpTokens, Imds, Loaded, Report};
use crate::role::{Base, CallerPolicy, Origin, Role, TokenSource, UnitName};

/// A configuration without problems, seen by somebody who is about to start it.
#[derive(Debug)]
pub struct Check<'l> {
    loaded: &'l Loaded,
    forecast: Forecast,
}

impl<'l> Check<'l> {
    /// `hosts` is how many hosts share the configuration, and with it the account's quota.
    pub fn new(loaded: &'l Loaded, hosts: u64) -> Self {
        Self { forecast: Forecast::new(&loaded.config, hosts), loaded }
    }

    /// Renders it for people: warnings, a line for each role and each `[imds.*]`, the forecast.
    pub fn text(&self, color: bool) -> String {
        let config = &self.loaded.config;
        let mut out = String::new();
        if !self.loaded.warnings.is_empty() {
            out.push_str(&self.loaded.warnings.render("the configuration can be used", color));
            out.push('\n');
        }
        let longest = config.roles.keys().map(|name| name.as_str().len()).max().unwrap_or_default();
        for role in config.roles.values() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{:longest$}  {} as {} for {} s, {}{}{}{}",
                role.name.as_str(),
                role.request.role_arn,
                role.request.session_name.as_str(),
                role.duration.as_secs(),
                token(&role.token),
                only_for(&role.callers),
                written_to(role),
                signed_by(&role.request.base),
            );
        }
        if !config.imds.is_empty() {
            out.push('\n');
        }
        for front in config.imds.values() {
            let _ = writeln!(out, "{}", self.front_line(front));
        }
        let _ = writeln!(out, "\n{}", self.forecast_line());
        out
    }

    /// Renders it as JSON, for programs.
    pub fn json(&self) -> Value {
        let config = &self.loaded.config;
        let roles: Vec<Value> = config
            .roles
            .values()
            .map(|role| {
                json!({
                    "name": role.name.as_str(),
                    "role_arn": role.request.role_arn.as_str(),
                    "role_session_name": role.request.session_name.as_str(),
                    "duration_seconds": role.duration.as_secs(),
                    "source": role.request.base.to_string(),
                    "external_id": role.request.external_id.is_some(),
                    "required": role.required,
                    "token": token(&role.token),
                    "credentials_file": role.credentials_file.as_ref().map(|file| file.path.display().to_string()),
                    "allow_users": role.callers.users.as_ref().map(|users| users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>()),
                    "allow_units": role.callers.units.as_ref().map(|units| units.iter().map(UnitName::as_str).collect::<Vec<_>>()),
                })
            })
            .collect();
        let paths: Vec<String> =
            self.loaded.paths().map(|path| path.display().to_string()).collect();
        json!({
            "ok": true,
            "files": paths,
            "problems": self.loaded.warnings.to_json(),
            "roles": roles,
            "fronts": config.imds.values().map(front_json).collect::<Vec<_>>(),
            "forecast": {
                "hosts": self.forecast.hosts,
                "calls_per_hour_per_host": self.forecast.calls_per_hour_per_host,
                "calls_per_second": self.forecast.calls_per_second,
                "quota_share": self.forecast.quota_share,
            },
        })
    }

    fn front_line(&self, front: &Imds) -> String {
        let role = self.loaded.config.roles.get(&front.role);
        let whose = role.map_or_else(String::new, |role| only_for(&role.callers));
        let listen: Vec<String> = front.listen.iter().map(ToString::to_string).collect();
        format!(
            "imds.{} at {}{} for role {}, {}{}",
            front.name,
            listen.join(" and "),
            match front.socket {
                FrontSocket::Systemd => ", opened by systemd alone,",
                FrontSocket::Whoever => "",
            },
            front.role,
            match front.http_tokens {
                HttpTokens::Required => "version 2 only",
                HttpTokens::Optional => "versions 1 and 2",
            },
            if whose.is_empty() { ", for whoever reaches it" } else { whose.as_str() },
        )
    }

    fn forecast_line(&self) -> String {
        let forecast = &self.forecast;
        let roles = self.loaded.config.roles.len();
        let mut line = format!(
            "{roles} role{}; {:.1} STS calls per hour from each host",
            if roles == 1 { "" } else { "s" },
            forecast.calls_per_hour_per_host
        );
        if forecast.hosts > 1 {
            let _ = write!(
                line,
                "; from {} hosts {:.2} per second, {:.1} % of the {:.0} that one account may sign",
                forecast.hosts,
                forecast.calls_per_second,
                forecast.quota_share * 100.0,
                super::STS_QUOTA_PER_SECOND,
            );
        }
        line
    }
}

/// The output of `check --format json` for a configuration that is refused.
pub fn refusal_json(report: &Report) -> Value {
    json!({ "ok": false, "problems": report.to_json() })
}

/// Empty for the default source, which everybody expects.
fn signed_by(base: &Base) -> String {
    match base {
        Base::Role(parent) => format!(", signed by the role {}", parent.name),
        Base::Source(source) if source.origin == Origin::Chain => String::new(),
        Base::Source(source) => format!(", signed by {}", source.origin),
        Base::Token(identity) => format!(", with the token in {}", identity.token_file.display()),
    }
}

fn token(token: &TokenSource) -> String {
    match token {
        TokenSource::Generated { group: Some(group) } => format!("token for group {group}"),
        TokenSource::Generated { group: None } => "token for roletap's user".to_owned(),
        TokenSource::File(path) => format!("token from {}", path.display()),
        TokenSource::None => "no token".to_owned(),
    }
}

fn front_json(front: &Imds) -> Value {
    json!({
        "name": front.name.as_str(),
        "listen": front.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "socket": match front.socket {
            FrontSocket::Systemd => Some("systemd"),
            FrontSocket::Whoever => None,
        },
        "role": front.role.as_str(),
        "http_tokens": match front.http_tokens {
            HttpTokens::Required => "required",
            HttpTokens::Optional => "optional",
        },
    })
}

/// The file that its credentials are written to, and its readers.
fn written_to(role: &Role) -> String {
    let Some(file) = &role.credentials_file else {
        return String::new();
    };
    let readers = match &file.group {
        Some(group) => format!("group {}", group.name),
        None => "roletap's user".to_owned(),
    };
    format!(", written to {} for {readers}", file.path.display())
}

/// The demands on callers beside the token.
fn only_for(callers: &CallerPolicy) -> String {
    let mut out = String::new();
    if let Some(users) = &callers.users {
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        let _ = write!(out, ", only for {}", names.join(" or "));
    }
    if let Some(units) = &callers.units {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let _ = write!(out, ", only in {}", names.join(" or "));
    }
    out
}
