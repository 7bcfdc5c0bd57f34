//! A file's text as reports may show it: secrets cut off, and every span of the original mapped onto what is left.

use std::ops::Range;

use super::secret;

/// Stands where something was cut off. The caret may point at it.
const CUT: &str = "…";

#[derive(Debug)]
pub(crate) struct Excerpt {
    text: String,
    /// Per line: where it starts in the original, where it starts here, and how much of it is shown if not all.
    lines: Vec<(usize, usize, Option<usize>)>,
    original_len: usize,
}

/// Some whole lines of an excerpt.
#[derive(Debug)]
pub(crate) struct Window<'e> {
    pub(crate) text: &'e str,
    /// Its offset in the excerpt.
    pub(crate) start: usize,
    pub(crate) first_line: usize,
}

impl Excerpt {
    pub(crate) fn new(original: &str) -> Self {
        let mut text = String::with_capacity(original.len());
        let mut lines = Vec::new();
        let mut start = 0;
        for (line, shown) in original.split_inclusive('\n').zip(secret::hidden_lines(original)) {
            lines.push((start, text.len(), shown));
            match shown.and_then(|shown| line.get(..shown)) {
                None => text.push_str(line),
                Some(shown) => {
                    text.push_str(shown);
                    if !shown.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(CUT);
                    if line.ends_with('\n') {
                        text.push('\n');
                    }
                }
            }
            start += line.len();
        }
        Self { text, lines, original_len: original.len() }
    }

    /// The lines from the first of some spans to the last, so that the renderer does not read all of a large file
    /// for every problem in it.
    pub(crate) fn window<'s>(&self, spans: impl Iterator<Item = &'s Range<usize>>) -> Window<'_> {
        let (mut from, mut to) = (self.text.len(), 0);
        for span in spans {
            from = from.min(span.start);
            to = to.max(span.end);
        }
        let before = self.text.get(..from).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let after = self.text.get(to..).unwrap_or_default();
        let end = to + after.find('\n').map_or(after.len(), |newline| newline + 1);
        Window {
            text: self.text.get(start..end).unwrap_or_default(),
            start,
            first_line: self.lines.partition_point(|&(_, here, _)| here < start) + 1,
        }
    }

    /// Maps a span of the original to the excerpt. A span over several lines ends with its first.
    pub(crate) fn map(&self, span: Range<usize>) -> Range<usize> {
        let start = self.map_offset(span.start.min(self.original_len), false);
        let end = self.map_offset(span.end.min(self.original_len), true).max(start);
        let line_end = self
            .text
            .get(start..end)
            .and_then(|part| part.find('\n'))
            .map_or(end, |newline| start + newline);
        // A caret below nothing is invisible to the renderer: take the next character, if there is one.
        let line_end = if line_end == start {
            let next = self.text.get(start..).and_then(|rest| rest.chars().next());
            start + next.filter(|&c| c != '\n').map_or(0, char::len_utf8)
        } else {
            line_end
        };
        start..line_end
    }

    fn map_offset(&self, offset: usize, is_end: bool) -> usize {
        let line = self.lines.partition_point(|&(start, ..)| start <= offset);
        let Some(&(from, to, shown)) = line.checked_sub(1).and_then(|line| self.lines.get(line))
        else {
            return 0;
        };
        let within = offset - from;
        match shown {
            Some(shown) if within > shown || (within == shown && !is_end) => {
                let cut = to + shown + usize::from(shown > 0);
                if is_end { cut + CUT.len() } else { cut }
            }
            Some(_) | None => to + within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_what_was_cut() {
        let original = "token = \"abc\"\nb = 2\n";
        let excerpt = Excerpt::new(original);
        assert_eq!(excerpt.text, "token = …\nb = 2\n");
        let shown = |span| &excerpt.text[excerpt.map(span)];
        assert_eq!(shown(0..5), "token");
        assert_eq!(shown(8..13), "…");
        assert_eq!(shown(0..13), "token = …");
        assert_eq!(shown(14..15), "b");
        assert_eq!(shown(9..16), "…");
    }

    #[test]
    fn a_window_has_whole_lines() {
        let excerpt = Excerpt::new("a\nbb\nccc\nd");
        let window = excerpt.window([3..4, 6..7].iter());
        assert_eq!((window.text, window.start, window.first_line), ("bb\nccc\n", 2, 2));
        let last = excerpt.window(std::iter::once(&(9..10)));
        assert_eq!((last.text, last.first_line), ("d", 4));
    }

    #[test]
    fn every_span_lands_in_the_text() {
        let original =
            "token = \"äbc\"\r\n'x' = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"\nb = ü";
        let excerpt = Excerpt::new(original);
        for start in (0..=original.len()).filter(|&i| original.is_char_boundary(i)) {
            for end in (start..=original.len()).filter(|&i| original.is_char_boundary(i)) {
                assert!(excerpt.text.get(excerpt.map(start..end)).is_some(), "{start}..{end}");
            }
        }
    }
}
