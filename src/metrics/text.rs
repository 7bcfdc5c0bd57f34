//! One family of metrics in the text format of Prometheus.

use std::fmt::{Display, Write};

/// A family that samples are added to. Label values must not need escapes, as names of roles, regions and sources do not.
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl<'a> Family<'a> {
    /// Writes the head of a gauge.
    pub(super) fn gauge(out: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::new(out, name, "gauge", help)
    }

    /// Writes the head of a counter.
    pub(super) fn counter(out: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::new(out, name, "counter", help)
    }

    fn new(out: &'a mut String, name: &'static str, kind: &str, help: &str) -> Self {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Self { out, name }
    }

    /// Adds a sample for each value of one label.
    pub(super) fn samples(
        mut self,
        label: &str,
        samples: impl IntoIterator<Item = (impl AsRef<str>, impl Display)>,
    ) {
        for (text, value) in samples {
            self.sample(&[(label, text.as_ref())], value);
        }
    }

    /// Adds one sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        for (position, (label, text)) in labels.iter().enumerate() {
            // Without the machinery of `write!`: a scrape of 1,000 roles has 20,000 samples.
            self.out.push(if position == 0 { '{' } else { ',' });
            for part in [*label, "=\"", *text, "\""] {
                self.out.push_str(part);
            }
        }
        self.out.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = write!(self.out, "{value}");
        self.out.push('\n');
    }
}
