//! What the file may say, what it may not, and how that is told.

mod accepted;
mod pipelines;
mod refused;
mod syntax;

use super::Description;

/// The least that a description says.
const MINIMAL: &str = "\
pipeline = \"videos\"
table = \"videos\"
key = \"id\"
succeeded = \"completed\"

[[stage]]
name = \"thumbnail\"
ready = \"queued\"
running = \"processing\"
";

/// The least, with more at the top of the file and at its end.
fn with(top: &str, end: &str) -> String {
    format!("{top}\n{MINIMAL}{end}\n")
}

fn read(text: &str) -> Description {
    Description::parse("rowlock.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is told about a text with mistakes.
fn told(text: &str) -> String {
    Description::parse("rowlock.toml", text).expect_err("there is a mistake").to_string()
}

/// The places of the mistakes: line and column.
fn places(text: &str) -> Vec<(usize, usize)> {
    let problems = Description::parse("rowlock.toml", text).expect_err("there is a mistake");
    problems.iter().map(|(place, _)| (place.line, place.column)).collect()
}
