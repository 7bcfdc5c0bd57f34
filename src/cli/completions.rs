//! `roletap completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Arguments, Failure, print};

/// Prints a script for `shell`.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "roletap", &mut script);
    print(&String::from_utf8_lossy(&script))
}
