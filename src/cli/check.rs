//! `roletap check`

use std::io::IsTerminal;
use std::path::Path;

use super::{CheckFormat, ExitStatus, Failure, load, print};
use crate::config::{Check, Config, refusal_json};

/// Reports every problem, or what was understood.
pub fn check(config: &Path, format: CheckFormat, hosts: u64) -> Result<(), Failure> {
    match format {
        CheckFormat::Text => {
            let loaded = load(config, "nothing was started")?;
            let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            print(&Check::new(&loaded, hosts).text(color))
        }
        CheckFormat::Json => match Config::load(config) {
            Ok(loaded) => print(&format!("{:#}\n", Check::new(&loaded, hosts).json())),
            Err(report) => {
                print(&format!("{:#}\n", refusal_json(&report)))?;
                Err(Failure {
                    status: ExitStatus::Config,
                    message: String::new(),
                })
            }
        },
    }
}
