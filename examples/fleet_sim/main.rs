//! A fleet of hosts against the one quota that they share, in virtual time: what a mass restart and an outage of STS come to.
//!
//! `cargo run --release --example fleet_sim -- --hosts 10000 --svg fleet.svg`; with fewer hosts the quota shrinks with them.

#![expect(clippy::print_stdout, reason = "it prints what it has measured")]

mod plot;
mod simulation;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use simulation::{Control, Fleet, HEAD, Measured, Scenario, simulate};

/// Simulates a fleet; sessions of an hour, three hours.
#[derive(Debug, Parser)]
struct Arguments {
    /// Hosts in the fleet
    #[arg(long, default_value_t = 400)]
    hosts: usize,
    /// Roles on each host
    #[arg(long, default_value_t = 50)]
    roles: usize,
    /// What happens
    #[arg(long, value_enum, default_value = "all")]
    scenario: Which,
    /// A policy broken on purpose
    #[arg(long, value_enum, default_value = "none")]
    control: Broken,
    /// Calls per second that STS lets in; by default its 600, scaled from 500,000 roles to this fleet
    #[arg(long)]
    quota: Option<f64>,
    /// Decides every random draw
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Writes the calls of each second here
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draws the calls over time here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Steady,
    Restart,
    Outage,
    All,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Broken {
    None,
    NoSpread,
    NoPause,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let scenarios = match arguments.scenario {
        Which::Steady => vec![Scenario::Steady],
        Which::Restart => vec![Scenario::Restart],
        Which::Outage => vec![Scenario::Outage],
        Which::All => vec![Scenario::Steady, Scenario::Restart, Scenario::Outage],
    };
    let fleet = |scenario| {
        let fleet = Fleet::new(scenario, arguments.hosts, arguments.roles, arguments.seed);
        Fleet {
            quota: arguments.quota.unwrap_or(fleet.quota),
            control: match arguments.control {
                Broken::None => Control::None,
                Broken::NoSpread => Control::NoSpread,
                Broken::NoPause => Control::NoPause,
            },
            ..fleet
        }
    };
    let first = fleet(scenarios[0]);
    println!(
        "{} hosts, {} roles each, quota {} calls/s, seed {}\n\n{HEAD}",
        first.hosts, first.roles, first.quota, first.seed
    );
    let mut all = Vec::new();
    for scenario in scenarios {
        let measured = simulate(fleet(scenario));
        println!("{}", measured.row());
        all.push(measured);
    }
    println!();
    for measured in &all {
        tell(measured);
    }
    if let Some(file) = &arguments.csv {
        std::fs::write(file, csv(&all)?)?;
    }
    if let Some(file) = &arguments.svg {
        std::fs::write(file, plot::svg(&all)?)?;
    }
    Ok(())
}

fn tell(measured: &Measured) {
    let whole = 0..measured.fleet.seconds;
    println!(
        "{}: {:.1} calls/s in the last hour, forecast {:.1}; {} throttled; {} into the outage; {} in the first 30 min",
        measured.fleet.scenario.as_str(),
        measured.mean(measured.last_hour()),
        measured.forecast,
        measured.sum(whole.clone(), |second| second.throttled),
        measured.sum(whole, |second| second.unreachable),
        measured.sum(0..1800, simulation::Second::arrived),
    );
    if !measured.asked_filled.is_empty() {
        println!(
            "{}: {} roles were asked for in the first minute; to be filled within {:.0} s",
            measured.fleet.scenario.as_str(),
            measured.asked_filled.len(),
            measured.limit_for_asked(),
        );
    }
}

fn csv(all: &[Measured]) -> Result<String, std::fmt::Error> {
    let mut text = String::from("scenario,second,issued,throttled,unreachable\n");
    for measured in all {
        for (at, second) in measured.seconds.iter().enumerate() {
            writeln!(
                text,
                "{},{at},{},{},{}",
                measured.fleet.scenario.as_str(),
                second.issued,
                second.throttled,
                second.unreachable
            )?;
        }
    }
    Ok(text)
}
