//! `roletap man`

use std::path::Path;

use clap::CommandFactory;

use super::{Arguments, Failure, print};

/// Prints roletap(1), or writes a page per command into `dir`.
pub fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let command = Arguments::command();
    match dir {
        Some(dir) => std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(command, dir))
            .map_err(Failure::when(format!("cannot write manual pages to {}", dir.display()))),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut page)
                .map_err(Failure::when("cannot render the manual page"))?;
            print(&String::from_utf8_lossy(&page))
        }
    }
}
