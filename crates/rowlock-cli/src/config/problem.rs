//! What is wrong with a file: where, what, by which rule, and what was meant instead.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::output::shown;
use crate::secrets::without_passwords;

/// Bytes of the file's text.
pub(super) type Span = Range<usize>;

/// More mistakes than this are counted and not shown: after the first few the file is another kind of file.
const SHOWN_MAX: usize = 50;

/// A longer line is not quoted.
const QUOTED_CHARS_MAX: usize = 200;

/// The text of a file, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub(super) name: String,
    pub(super) text: Arc<str>,
}

/// A place in a file, as an editor counts: the first line and the first column are 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) at: Span,
    /// What is wrong.
    pub what: String,
    /// The rule that this breaks, and what to write instead.
    pub rule: String,
    /// What may have been meant.
    pub suggestion: Option<String>,
}

impl Problem {
    pub(super) fn new(at: Span, what: impl Into<String>, rule: impl Into<String>) -> Problem {
        Problem { at, what: what.into(), rule: rule.into(), suggestion: None }
    }

    pub(super) fn suggest(mut self, suggestion: Option<String>) -> Problem {
        self.suggestion = suggestion;
        self
    }
}

/// All mistakes that were found in a file. Shows each with its line; no password is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    source: Source,
    problems: Vec<Problem>,
}

impl Problems {
    /// The mistakes, in the order of the file.
    pub(super) fn new(source: Source, mut problems: Vec<Problem>) -> Problems {
        problems.sort_by_key(|problem| (problem.at.start, problem.at.end));
        Problems { source, problems }
    }

    /// Each mistake with its place.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Problem)> {
        self.problems.iter().map(|problem| (self.source.place(problem.at.start), problem))
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(&self.source.name);
        match self.problems.len() {
            1 => write!(f, "{name} has a mistake")?,
            count => write!(f, "{name} has {count} mistakes")?,
        }
        for problem in self.problems.iter().take(SHOWN_MAX) {
            let Place { line, column } = self.source.place(problem.at.start);
            write!(f, "\n\n{name}:{line}:{column}: {}", shown(&without_passwords(&problem.what)))?;
            self.source.quote(f, &problem.at)?;
            write!(f, "\n  {}", shown(&without_passwords(&problem.rule)))?;
            if let Some(suggestion) = &problem.suggestion {
                write!(f, "\n  {}", shown(suggestion))?;
            }
        }
        match self.problems.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl Source {
    /// A byte's line and column.
    pub(super) fn place(&self, byte: usize) -> Place {
        let before = self.before(byte);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place { line, column }
    }

    /// The text before a byte. A position that is no boundary of characters is moved back to one.
    fn before(&self, byte: usize) -> &str {
        let mut end = byte.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }

    /// The line of a span, with a caret below each of its characters.
    fn quote(&self, f: &mut fmt::Formatter<'_>, at: &Span) -> fmt::Result {
        let before = self.before(at.start);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let line = self.text[start..end].trim_end_matches('\r');
        if line.chars().count() > QUOTED_CHARS_MAX {
            return Ok(());
        }
        let number = before.matches('\n').count() + 1;
        let safe = shown_line(&without_passwords(line));
        write!(f, "\n{number:>5} | {safe}")?;
        // The columns of a line that hides something are not those of the file.
        if safe != shown_line(line) {
            return Ok(());
        }
        let marked = self.before(at.end.min(start + line.len()).max(before.len()));
        let blanks = shown_line(&before[start..]).chars().count();
        let carets = shown_line(&marked[before.len()..]).chars().count().max(1);
        write!(f, "\n      | {}{}", " ".repeat(blanks), "^".repeat(carets))
    }
}

/// A tab is one column wide, so that carets stay below what they mark.
fn shown_line(line: &str) -> String {
    shown(&line.replace('\t', " "))
}
