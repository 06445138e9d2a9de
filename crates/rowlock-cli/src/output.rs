//! The program's output: results on the standard output, everything else on the standard error.

use std::fmt;
use std::io::{self, Write as _};

use anyhow::Result;

use crate::config::Problems;
use crate::secrets::without_passwords;

/// The standard output accepts no more: its reader has closed it, or its disk is full.
#[derive(Debug, thiserror::Error)]
#[error("the result cannot be written")]
pub struct OutputLost(#[source] io::Error);

impl OutputLost {
    /// Whether the reader has closed it, as `head` does, and so wants no further messages.
    pub fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints a line of the result.
///
/// # Errors
/// [`OutputLost`].
pub fn print(line: fmt::Arguments<'_>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(OutputLost)?;
    Ok(())
}

/// Prints a value as JSON, for programs to read.
///
/// # Errors
/// [`OutputLost`], and those of the value.
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(format_args!("{}", json_for_terminals(&serde_json::to_string_pretty(value)?)))
}

/// Prints a line on the standard error. If that is closed, there is nowhere to report it.
pub fn print_error(line: fmt::Arguments<'_>) {
    let _told = writeln!(io::stderr().lock(), "{line}");
}

/// An error and its causes, without repetitions, without passwords, and safe for a terminal.
pub fn in_words(error: &anyhow::Error) -> String {
    // They quote lines of the file, and are made safe line by line.
    if let Some(problems) = error.downcast_ref::<Problems>() {
        return problems.to_string();
    }
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    shown(&without_passwords(&words))
}

/// Text from others, made safe for a terminal: it obeys control characters, and characters for the direction of writing
/// make it show a different text.
pub fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) { safe.extend(character.escape_default()) } else { safe.push(character) }
    }
    safe
}

/// The same in JSON, where every character may be written by its number: a reader gets the exact text.
pub fn json_for_terminals(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Directions of writing.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Ends of lines and paragraphs.
            | '\u{2028}' | '\u{2029}'
            // Invisible characters.
            | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_each_thing_once() {
        let error = anyhow::anyhow!("Connection refused").context("no answer: Connection refused").context("a\tb");
        assert_eq!(in_words(&error), "a\\tb: no answer: Connection refused");
    }

    #[test]
    fn json_reads_as_it_was_and_holds_nothing_that_a_terminal_obeys() {
        let name = "a\u{1b}\u{9b}\u{202e}\u{2028}\u{e0001}ü";
        let json = json_for_terminals(&serde_json::to_string_pretty(&[name]).unwrap());
        assert!(!json.chars().any(|c| is_unsafe(c) && c != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [name]);
    }
}
