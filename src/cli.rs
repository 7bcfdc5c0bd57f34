//! Arguments in, an exit status out. One file per command.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::config_host;
use roletap_core::config::{Config, Loaded};
use roletap_core::role::Role;

pub mod check;
pub mod completions;
pub mod credential_process;
pub mod doctor;
pub mod env;
mod environment;
pub mod exec;
pub mod fetch;
mod hardening;
pub mod man;
pub mod policy;
pub mod refresh;
pub mod run;
pub mod status;

/// The names of the variables that container credentials come from.
pub const CONTAINER_VARIABLES: [&str; 4] = [
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

/// AWS role credentials on tap.
#[derive(Debug, Parser)]
#[command(name = "roletap", version, about, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file; conf.d/*.toml beside it is read too
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "ROLETAP_CONFIG",
        default_value = "/etc/roletap/roletap.toml"
    )]
    pub config: PathBuf,
    /// Command to run
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands of `roletap`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Assume the configured roles and serve their credentials
    ///
    /// SIGHUP reloads the configuration, SIGUSR1 refreshes all roles within the budget, SIGTERM and SIGINT drain
    /// connections and exit; a second one exits at once.
    Run,
    /// Check the configuration, offline
    ///
    /// Prints every problem with its file, line and column and exits 78; or, if there is none, one line per role, what
    /// deserves a look, and a forecast of STS calls.
    Check {
        /// For people or for programs
        #[arg(long, value_enum, default_value_t)]
        format: CheckFormat,
        /// How many hosts share the account that signs, for the forecast
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        hosts: u64,
    },
    /// Print the settings that point a workload at its role
    Env {
        /// A role of the configuration
        role: String,
        /// How the settings are written
        #[arg(long, value_enum, default_value_t)]
        format: EnvFormat,
        /// Endpoint that the settings lead to
        #[arg(long, value_enum, default_value_t)]
        front: EnvFront,
    },
    /// Run a command whose AWS SDK finds this role
    ///
    /// Waits until the role's credentials are there, then becomes the command.
    Exec {
        /// A role of the configuration
        role: String,
        /// How long to wait for credentials before giving up, seconds; 0 starts the command whatever the daemon says
        #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86_400))]
        wait: u64,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<std::ffi::OsString>,
    },
    /// Show what the running daemon holds
    Status {
        /// As the daemon says it
        #[arg(long)]
        json: bool,
        /// Again every two seconds, until interrupted
        #[arg(long, conflicts_with_all = ["json", "ready"])]
        watch: bool,
        /// Print nothing; exit 0 if the daemon is ready, else 69: a health check
        #[arg(long, conflicts_with = "json")]
        ready: bool,
    },
    /// Print credentials as AWS `credential_process` wants them, for tools without a container provider
    CredentialProcess {
        /// A role of the configuration
        role: String,
    },
    /// Ask the running daemon for new credentials of a role, within its budget
    Refresh {
        /// A role of the configuration
        role: String,
    },
    /// Print a policy for somebody to apply: who may assume a role, which roles roletap may assume, what a sink may do in a bucket
    ///
    /// Standard output holds nothing but the document; whose it is and how to apply it is told on standard error.
    Policy(policy::PolicyArguments),
    /// Look at everything between a workload and its credentials, and say what to do
    ///
    /// Assumes each role once, for real. Works whether the daemon runs or not. Exits 0 if nothing fails, else 69.
    Doctor(doctor::DoctorArguments),
    /// Print a completion script
    Completions {
        /// Shell to write completions for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write one page per command into this directory instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// How `check` reports.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum CheckFormat {
    /// A table for people
    #[default]
    Text,
    /// JSON for programs
    Json,
}

/// How `env` writes settings.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum EnvFormat {
    /// For `eval` in a POSIX shell
    #[default]
    Shell,
    /// For the Service section of a unit
    Systemd,
    /// For `docker run --env-file`
    Docker,
    /// For programs: what to set, and what to unset
    Json,
}

/// The endpoints or files that `roletap env` can lead a workload to.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum EnvFront {
    /// The credentials endpoint, as a container's
    #[default]
    Container,
    /// The `[imds.NAME]` that serves the role
    Imds,
    /// The file that the role's `credentials_file` names
    File,
}

/// The exit statuses of the process, as in sysexits(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command succeeded.
    Success,
    /// The command failed while it ran.
    Failed,
    /// The arguments make no sense.
    Usage,
    /// Something that was needed is not there: the daemon, a port.
    Unavailable,
    /// A permission is missing.
    NotPermitted,
    /// The configuration has problems.
    Config,
}

impl ExitStatus {
    /// Returns the number of this exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::NotPermitted => 77,
            Self::Config => 78,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit status of the process.
    pub status: ExitStatus,
    /// The action, the finding and the next step, printed as it is.
    pub message: String,
}

impl Failure {
    /// `error: {message}`, one line.
    pub fn new(status: ExitStatus, message: impl Display) -> Self {
        Self { status, message: format!("error: {message}\n") }
    }

    /// Fails because the command line asks for what cannot be.
    pub fn usage(message: impl Display) -> Self {
        Self::new(ExitStatus::Usage, message)
    }

    /// Fails because of the configuration.
    pub fn config(message: impl Display) -> Self {
        Self::new(ExitStatus::Config, message)
    }

    /// Fails because somebody does not answer, or not as needed.
    pub fn unavailable(message: impl Display) -> Self {
        Self::new(ExitStatus::Unavailable, message)
    }

    /// Fails with the status that an error of a file or a socket calls for.
    pub fn io(error: &std::io::Error, doing: impl Display) -> Self {
        let status = if error.kind() == std::io::ErrorKind::PermissionDenied {
            ExitStatus::NotPermitted
        } else {
            ExitStatus::Unavailable
        };
        Self::new(status, format!("{doing}: {error}"))
    }
}

/// Does what the arguments say.
pub fn execute(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.as_path();
    match arguments.command {
        Command::Run => run::run(config),
        Command::Check { format, hosts } => check::check(config, format, hosts),
        Command::Env { role, format, front } => env::env(config, &role, front, format),
        Command::Exec { role, wait, command } => exec::exec(config, &role, wait, &command),
        Command::Status { json, watch, ready } => status::status(config, json, watch, ready),
        Command::CredentialProcess { role } => {
            credential_process::credential_process(config, &role)
        }
        Command::Refresh { role } => refresh::refresh(config, &role),
        Command::Policy(arguments) => policy::policy(config, &arguments),
        Command::Doctor(arguments) => doctor::doctor(config, &arguments),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { dir } => man::man(dir.as_deref()),
    }
}

/// Makes the runtime that waits for a command's requests.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::io(&error, "cannot start"))
}

/// Writes to standard output. A reader that has gone is nobody's failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::io(&error, "cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error what a person should know beside the output.
pub(crate) fn print_notice(text: &str) {
    use std::io::Write;
    // Whoever has closed it does not want to know.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Reads the configuration, or fails with its report.
pub(crate) fn load(config: &Path, nothing: &str) -> Result<Loaded, Failure> {
    use std::io::IsTerminal;
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    config_host::load(config).map_err(|report| Failure {
        status: ExitStatus::Config,
        message: report.render(nothing, color),
    })
}

/// A role of the configuration, by the name on the command line.
pub(crate) fn role<'c>(config: &'c Config, name: &str) -> Result<&'c Role, Failure> {
    let known = || config.roles.keys().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    config.roles.get(name).map(AsRef::as_ref).ok_or_else(|| {
        Failure::usage(format!("no role `{name}` in the configuration; it has: {}", known()))
    })
}
