//! The environment that a process, a file or a unit gives to a workload, read from its text. Pure.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// `NAME=VALUE`, ended by NUL: `/proc/PID/environ`.
pub fn of_process(environ: &[u8]) -> BTreeMap<String, Zeroizing<String>> {
    environ
        .split(|byte| *byte == 0)
        .filter_map(|entry| pair(&String::from_utf8_lossy(entry)))
        .collect()
}

/// Lines of `NAME=VALUE`, as systemd's `EnvironmentFile=` and `docker run --env-file` have them.
pub fn of_file(text: &str) -> BTreeMap<String, Zeroizing<String>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
        .map(|line| line.strip_prefix("export ").unwrap_or(line))
        .filter_map(pair)
        .map(|(name, value)| (name, unquoted(&value)))
        .collect()
}

/// The environment of a systemd unit, drop-ins included.
#[derive(Debug, Default)]
pub struct Unit {
    /// Variables from `Environment=`.
    pub variables: BTreeMap<String, Zeroizing<String>>,
    /// `EnvironmentFile=`, in order, and whether it may be missing.
    pub files: Vec<(String, bool)>,
    /// Names from `UnsetEnvironment=`.
    pub unset: Vec<String>,
    /// The user from `User=`.
    pub user: Option<String>,
}

impl Unit {
    /// Reads a unit file with its drop-ins, or what `systemctl show` prints of it.
    pub fn parse(text: &str) -> Self {
        let mut unit = Self::default();
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            match key.trim() {
                // An empty assignment forgets what came before.
                "Environment" if value.trim().is_empty() => unit.variables.clear(),
                "Environment" => {
                    let pairs = words(value).into_iter().filter_map(|word| pair(&word));
                    unit.variables.extend(pairs);
                }
                "EnvironmentFile" if value.trim().is_empty() => unit.files.clear(),
                "EnvironmentFile" | "EnvironmentFiles" => {
                    let path = value.split(" (").next().unwrap_or(value).trim();
                    let optional = path.starts_with('-') || value.contains("ignore_errors=yes");
                    let path = path.trim_start_matches('-');
                    if !path.is_empty() {
                        unit.files.push((path.to_owned(), optional));
                    }
                }
                "UnsetEnvironment" => unit.unset.extend(words(value)),
                "User" if !value.trim().is_empty() => unit.user = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        unit
    }
}

fn pair(entry: &str) -> Option<(String, Zeroizing<String>)> {
    let (name, value) = entry.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), Zeroizing::new(value.to_owned())))
}

fn unquoted(value: &str) -> Zeroizing<String> {
    let value = value.trim();
    let bare = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
    Zeroizing::new(bare.unwrap_or(value).to_owned())
}

/// Blank-separated words, of which quotes may hold blanks; `%%` is a percent sign.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                begun = true;
            }
            ('\\', _) => word.extend(characters.next()),
            ('%', _) if characters.peek() == Some(&'%') => {
                characters.next();
                word.push('%');
            }
            (c, None) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            (c, _) => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_with_its_drop_ins_and_as_systemctl_shows_it() {
        let unit = Unit::parse(
            "[Service]\nUser=sink\nEnvironment=A=1 \"B=two words\" 'C=50%%'\nEnvironment=\nEnvironment=D=4 \\\n  E=5\n\
             EnvironmentFile=-/etc/default/sink\nUnsetEnvironment=AWS_PROFILE AWS_ROLE_ARN\n",
        );
        let names: Vec<&str> = unit.variables.keys().map(String::as_str).collect();
        assert_eq!(names, ["D", "E"]);
        assert_eq!(unit.files, [("/etc/default/sink".to_owned(), true)]);
        assert_eq!(unit.unset, ["AWS_PROFILE", "AWS_ROLE_ARN"]);
        assert_eq!(unit.user.as_deref(), Some("sink"));
        let shown = Unit::parse(
            "User=sink\nEnvironment=A=1 \"B=two words\"\nEnvironmentFiles=/etc/sink.env (ignore_errors=no)\n",
        );
        assert_eq!(shown.variables["B"].as_str(), "two words");
        assert_eq!(shown.files, [("/etc/sink.env".to_owned(), false)]);
    }

    #[test]
    fn files_and_processes_are_read() {
        let file = of_file("# no\nA=1\nexport B='two'\n; no\nC=\"3\"\nnothing\n");
        let pairs: Vec<(&str, &str)> = file.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "two"), ("C", "3")]);
        assert_eq!(of_process(b"A=1\0B=x=y\0")["B"].as_str(), "x=y");
    }
}
