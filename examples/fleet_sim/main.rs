//! x
#![allow(unreachable_pub)]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]
mod simulation;
use clap::Parser;
use simulation::*;
#[derive(Parser, Debug)]
struct A {
    #[arg(long, default_value_t = 400)]
    hosts: usize,
    #[arg(long, default_value_t = 50)]
    roles: usize,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    #[arg(long, default_value = "all")]
    scenario: String,
    #[arg(long, default_value = "none")]
    control: String,
    #[arg(long)]
    trace: bool,
}
fn main() {
    let a = A::parse();
    for (name, scenario) in [
        ("steady", Scenario::Steady),
        ("restart", Scenario::Restart),
        ("outage", Scenario::Outage),
    ] {
        if a.scenario != "all" && a.scenario != name {
            continue;
        }
        let control = match a.control.as_str() {
            "nospread" => Control::NoSpread,
            "nopause" => Control::NoPause,
            _ => Control::None,
        };
        let quota = 600.0 * (a.hosts * a.roles) as f64 / 500_000.0;
        let m = simulate(Fleet {
            scenario,
            hosts: a.hosts,
            roles: a.roles,
            quota,
            seconds: 3 * 3600,
            seed: a.seed,
            control,
        });
        let q = |p: f64| p / quota;
        println!(
            "{name}: calls/ideal {:.3} filled {:?} asked n {} p50 {:.0} p99 {:.0} max {:.0} waited p99 {:.0} limit {:.0}",
            m.calls_to_ideal(),
            m.all_filled,
            m.asked_filled.len(),
            quantile(&m.asked_filled, 0.5),
            quantile(&m.asked_filled, 0.99),
            quantile(&m.asked_filled, 1.0),
            quantile(&m.asked_waited, 0.99),
            m.limit_for_asked()
        );
        let f = m.all_filled.unwrap_or(0.0) as u64;
        println!(
            "   30min {} to fill {:.3} throttled {} unreachable {}  expired {:.0} least left {:.0} caught up {:?}",
            m.arrived(0..1800) as f64 / (a.hosts * a.roles) as f64,
            m.arrived(0..f) as f64 / (a.hosts * a.roles) as f64,
            m.throttled(0..10800),
            m.unreachable(),
            m.expired_role_seconds,
            m.least_left,
            m.caught_up
        );
        println!(
            "   last hour mean {:.3} forecast {:.3} peak1 {:.3} peak10 {:.3}; wave(after {}) peak1 {:.3} peak10 {:.3} peak60 {:.3}",
            q(m.mean(7200..10800)),
            q(m.forecast),
            q(m.peak(7200..10800, 1)),
            q(m.peak(7200..10800, 10)),
            f + 60,
            q(m.peak(
                (f + 60).max(if scenario == Scenario::Outage {
                    3000
                } else {
                    0
                })..10800,
                1
            )),
            q(m.peak(
                (f + 60).max(if scenario == Scenario::Outage {
                    3000
                } else {
                    0
                })..10800,
                10
            )),
            q(m.peak(
                (f + 60).max(if scenario == Scenario::Outage {
                    3000
                } else {
                    0
                })..10800,
                60
            ))
        );
        {
            let mut ends: Vec<u64> = vec![0, 5, 20, 60, 120, 240, 480, 960];
            ends.dedup();
            print!("   ");
            for w in ends.windows(2) {
                print!(
                    "{}: {:.2}/{:.2}  ",
                    w[0],
                    q(m.mean(w[0]..w[1])),
                    q(m.throttled(w[0]..w[1]) as f64 / (w[1] - w[0]) as f64)
                );
            }
            println!();
        }
        if a.trace {
            let mut s = 0;
            while s < 10800 {
                let e = s + if s < 60 { 5 } else { 60 };
                println!(
                    "{s} {:.3} thr {:.3} unr {:.3}",
                    q(m.mean(s..e)),
                    q(m.throttled(s..e) as f64 / (e - s) as f64),
                    q(m.seconds[s as usize].unreachable as f64)
                );
                s = e;
            }
        }
    }
}
