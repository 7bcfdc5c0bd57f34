//! Calls over time, as a drawing of a few kilobytes that needs nothing but a browser.

use std::fmt::{Error, Write};

use crate::simulation::{Measured, Second};

const WIDTH: f64 = 760.0;
const PANEL: f64 = 150.0;
const MARGIN: f64 = 44.0;
/// The top of each panel, in quotas; what is above is cut off.
const TOP: f64 = 1.6;
const BUCKET: u64 = 60;

/// One panel for each scenario: what STS saw, and what it let in.
pub(crate) fn svg(all: &[Measured]) -> Result<String, Error> {
    let height = all.len() as f64 * (PANEL + 46.0) + 24.0;
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0} {height:.0}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
"##,
        WIDTH + 2.0 * MARGIN
    );
    for (number, measured) in all.iter().enumerate() {
        let top = 30.0 + number as f64 * (PANEL + 46.0);
        writeln!(out, r#"<g transform="translate({MARGIN} {top})">"#)?;
        panel(&mut out, measured)?;
        writeln!(out, "</g>")?;
    }
    writeln!(out, "</svg>")?;
    Ok(out)
}

fn panel(out: &mut String, measured: &Measured) -> Result<(), Error> {
    let fleet = &measured.fleet;
    writeln!(
        out,
        r##"<text y="-8"><tspan font-weight="bold">{}</tspan>: calls per second, means over a minute; grey arrived, blue let in, red the quota of {:.0}</text>"##,
        fleet.scenario.as_str(),
        fleet.quota
    )?;
    for share in [0.0, 0.6, 1.0] {
        let y = height_of(share);
        let color = if share == 1.0 { "#c33" } else { "#ccc" };
        writeln!(
            out,
            r##"<path d="M0 {y:.1}H{WIDTH}" stroke="{color}"/><text x="-6" y="{:.1}" text-anchor="end">{:.0}</text>"##,
            y + 4.0,
            share * fleet.quota
        )?;
    }
    for minutes in (0..=fleet.seconds / 60).step_by(30) {
        let x = minutes as f64 * 60.0 / fleet.seconds as f64 * WIDTH;
        writeln!(
            out,
            r#"<text x="{x:.0}" y="{:.0}" text-anchor="middle">{minutes} min</text>"#,
            PANEL + 14.0
        )?;
    }
    line(out, measured, "#999", Second::arrived)?;
    line(out, measured, "#15c", |second| second.issued)
}

fn line(
    out: &mut String,
    measured: &Measured,
    color: &str,
    of: impl Fn(Second) -> u32,
) -> Result<(), Error> {
    write!(out, r#"<path fill="none" stroke="{color}" d=""#)?;
    for (number, start) in (0..measured.fleet.seconds).step_by(BUCKET as usize).enumerate() {
        let rate = measured.sum(start..start + BUCKET, &of) as f64 / BUCKET as f64;
        let x = (start as f64 + BUCKET as f64 / 2.0) / measured.fleet.seconds as f64 * WIDTH;
        let to = if number == 0 { 'M' } else { 'L' };
        write!(out, "{to}{x:.0} {:.0}", height_of(rate / measured.fleet.quota))?;
    }
    writeln!(out, r#""/>"#)
}

fn height_of(share: f64) -> f64 {
    PANEL * (1.0 - share.min(TOP) / TOP)
}
