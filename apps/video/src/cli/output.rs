//! The program's output: results on the standard output, everything else on the standard error.

use std::fmt;
use std::io::{self, Write as _};

use anyhow::Result;

use super::secrets;
use super::terminal::{json_for_terminals, shown};

/// The standard output accepts no more: its reader has closed it, or its disk is full.
#[derive(Debug, thiserror::Error)]
#[error("the result cannot be written")]
pub(crate) struct OutputLost(#[source] io::Error);

impl OutputLost {
    /// Whether the reader has closed it, as `head` does, and so wants no further messages.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints a line of the result.
pub(crate) fn print(line: fmt::Arguments<'_>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(OutputLost)?;
    Ok(())
}

/// Prints a value as JSON, for programs to read.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(format_args!("{}", json_for_terminals(&serde_json::to_string_pretty(value)?)))
}

/// Prints a line on the standard error. If that is closed, there is nowhere to report it.
pub(crate) fn print_error(line: fmt::Arguments<'_>) {
    let _told = writeln!(io::stderr().lock(), "{line}");
}

/// An error and its causes, without repetitions, without passwords, and safe for a terminal.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    shown(&secrets::scrubbed(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_each_thing_once() {
        let error = anyhow::anyhow!("Connection refused").context("no answer: Connection refused").context("a\tb");
        assert_eq!(in_words(&error), "a\\tb: no answer: Connection refused");
    }
}
