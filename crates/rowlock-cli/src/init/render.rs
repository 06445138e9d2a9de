//! The text of a `rowlock.toml`: each line with what speaks for it.

use std::fmt::Write as _;

use rowlock::TableName;

use super::proposal::{Assignment, ColumnProposal, ColumnValue, Proposal, Proposed, StageProposal, State, Word};
use crate::survey::{Database, Survey};

/// The widest line of a comment.
const COMMENT_WIDTH: usize = 100;

/// The events, as the file names them, in its order.
const EVENTS: [&str; 5] = ["claim", "success", "failure", "retry", "every_move"];

/// The commented description of a surveyed table.
pub fn render(proposal: &Proposal, survey: &Survey) -> String {
    let mut file = String::new();
    head(&mut file, proposal, survey);
    entry(&mut file, "pipeline", &text(&proposal.pipeline));
    entry(&mut file, "table", &table(&survey.table));
    line(&mut file, "key", &shown(&proposal.key, |key| key_text(key)), "\"…\"");
    if let Some(key_type) = proposal.key_type {
        entry(&mut file, "key_type", &text(key_type));
    }
    comment(&mut file, "The database is in DATABASE_URL or --database, or here, without a password:");
    let example = match survey.database {
        Database::Postgres => "postgres://user@host/database",
        Database::Sqlite => "sqlite://file.db",
    };
    comment_line(&mut file, &format!("database = {}", text(example)));
    file.push('\n');
    line(&mut file, "succeeded", &shown(&proposal.succeeded, state), "\"…\"");
    line(&mut file, "failed", &shown(&proposal.failed, state), "\"…\"");
    line(&mut file, "cancelled", &shown(&proposal.cancelled, state), "\"…\"");
    line(&mut file, "ignored", &shown(&proposal.ignored, |words| list(words.iter().map(word))), "[\"…\"]");
    line(&mut file, "where", &shown(&proposal.condition, |condition| text(condition)), "\"…\"");
    line(&mut file, "order", &shown(&proposal.order, |order| list(order.iter().map(|sql| text(sql)))), "[\"…\"]");
    line(&mut file, "existing", &shown(&proposal.existing, |existing| text(existing)), "\"ready\"");
    for stage in &proposal.stages {
        stage_table(&mut file, stage);
    }
    columns(&mut file, proposal);
    on(&mut file, &proposal.on);
    limits(&mut file);
    file
}

/// The description of a table that does not exist yet, in the shape that needs nothing but the file.
pub fn render_new(table_name: &TableName, pipeline: &str) -> String {
    format!(
        "# The queue {pipeline}, in a table that `rowlock attach --apply` makes.\n\
         # Each row is an item. Add the columns of your own to the table whenever you like.\n\n\
         pipeline = {pipeline}\n\
         table = {table}\n\
         key = \"id\"\n\
         # Its type, unless it is text: \"uuid\", \"int\" or \"bigint\".\n\
         # key_type = \"bigint\"\n\
         # The database is in DATABASE_URL or --database, or here, without a password:\n\
         # database = \"postgres://user@host/database\"\n\n\
         # The words of the status column.\n\
         succeeded = \"SUCCEEDED\"\n\
         failed = \"FAILED\"\n\
         cancelled = \"CANCELLED\"\n\n\
         # A stage for each step of the work, in order. A row that a handler has done goes to the next one.\n\
         [[stage]]\n\
         name = \"process\"\n\
         ready = \"PENDING\"\n\
         running = \"IN_PROGRESS\"\n\
         # A handler that runs for longer is stopped:\n\
         # timeout = \"10m\"\n{LIMITS}",
        pipeline = text(pipeline),
        table = table(table_name),
    )
}

const LIMITS: &str = "
# The limits, with their defaults.
# [limits]
# max_retries = 5
# max_resets = 3
# stale_after = \"5m\"
# retry = { kind = \"exponential\", base = \"60s\", cap = \"1h\" }
";

fn head(file: &mut String, proposal: &Proposal, survey: &Survey) {
    comment(file, &format!("How the table {} is used as a queue, as far as it tells.", survey.table));
    let rows = match (survey.rows_estimate, survey.rows_are_exact) {
        (rows, true) => format!("It was looked at, not changed: {rows} rows, all of them."),
        (-1, false) => "It was looked at, not changed: a sample of its rows.".to_owned(),
        (rows, false) => format!("It was looked at, not changed: a sample of about {rows} rows."),
    };
    comment(file, &rows);
    comment(
        file,
        "Each line stands under what speaks for it. Decide what is marked TODO; a line with a # before it is not in \
         effect. Then run `rowlock check`.",
    );
    for remark in &proposal.remarks {
        file.push_str("#\n");
        comment(file, remark);
    }
    file.push('\n');
}

/// A key under its evidence and questions; as a comment, if a person must decide.
fn line(file: &mut String, key: &str, proposed: &Proposed<String>, placeholder: &str) {
    let is_silent = proposed.value.is_none() && proposed.evidence.is_empty() && proposed.todo.is_empty();
    if is_silent {
        return;
    }
    reasons(file, proposed);
    match &proposed.value {
        Some(value) if proposed.is_written() => entry(file, key, value),
        Some(value) => comment_line(file, &format!("{key} = {value}")),
        None => comment_line(file, &format!("{key} = {placeholder}")),
    }
}

fn reasons<T>(file: &mut String, proposed: &Proposed<T>) {
    for evidence in &proposed.evidence {
        comment(file, evidence);
    }
    for todo in &proposed.todo {
        comment(file, &format!("TODO: {todo}"));
    }
}

fn entry(file: &mut String, key: &str, value: &str) {
    let _ = writeln!(file, "{key} = {value}");
}

/// A comment that may be taken out of its `#` as it stands.
fn comment_line(file: &mut String, content: &str) {
    let _ = writeln!(file, "# {content}");
}

/// A comment in lines of a readable width. What a database says may have line ends of its own.
fn comment(file: &mut String, content: &str) {
    let mut width = 0;
    for part in content.split_whitespace() {
        let length = part.chars().count();
        if width == 0 {
            file.push('#');
        } else if width + 1 + length > COMMENT_WIDTH {
            file.push_str("\n#  ");
            width = 2;
        }
        file.push(' ');
        file.extend(part.chars().filter(|c| !c.is_control()));
        width += 1 + length;
    }
    file.push('\n');
}

fn stage_table(file: &mut String, stage: &StageProposal) {
    file.push_str("\n[[stage]]\n");
    entry(file, "name", &text(&stage.name));
    line(file, "ready", &shown(&stage.ready, state), "\"…\"");
    line(file, "running", &shown(&stage.running, state), "{ own = true }");
    comment(file, "A handler that runs for longer is stopped:");
    comment_line(file, "timeout = \"10m\"");
}

fn columns(file: &mut String, proposal: &Proposal) {
    file.push_str("\n# Columns of the table that play a role. For every other role a column is added.\n[columns]\n");
    for ColumnProposal { role, column: proposed } in &proposal.columns {
        line(file, role, &shown(proposed, column), "\"…\"");
    }
    line(file, "prefix", &shown(&proposal.prefix, |prefix| text(prefix)), "\"rowlock_\"");
}

fn on(file: &mut String, assignments: &[Assignment]) {
    if assignments.is_empty() {
        return;
    }
    file.push_str("\n# What else a move writes, in the same statement.\n[on]\n");
    for event in EVENTS {
        let of_event = || assignments.iter().filter(move |assignment| assignment.event == event);
        for assignment in of_event() {
            reasons(file, &assignment.value);
        }
        let shown = |assignment: &Assignment| {
            let value = assignment.value.value.as_deref().unwrap_or_default();
            format!("{} = {}", bare_key(&assignment.column), text(value))
        };
        let (written, guessed): (Vec<&Assignment>, Vec<&Assignment>) =
            of_event().partition(|assignment| assignment.value.is_written());
        if !written.is_empty() {
            let all: Vec<String> = written.iter().copied().map(shown).collect();
            entry(file, event, &format!("{{ {} }}", all.join(", ")));
        }
        for assignment in guessed {
            comment_line(file, &format!("{event} = {{ {} }}", shown(assignment)));
        }
    }
}

fn limits(file: &mut String) {
    file.push_str(LIMITS);
}

/// A proposal whose value is the text of the file.
fn shown<T>(proposed: &Proposed<T>, show: impl FnOnce(&T) -> String) -> Proposed<String> {
    Proposed {
        value: proposed.value.as_ref().map(show),
        confidence: proposed.confidence,
        evidence: proposed.evidence.clone(),
        todo: proposed.todo.clone(),
    }
}

fn state(state: &State) -> String {
    match state {
        State::Words(words) => match words.as_slice() {
            [only] => word(only),
            several => list(several.iter().map(word)),
        },
        State::Sql { is, set } => {
            let set: Vec<String> =
                set.iter().map(|(column, value)| format!("{} = {}", bare_key(column), text(value))).collect();
            format!("{{ is = {}, set = {{ {} }} }}", text(is), set.join(", "))
        }
        State::Own => "{ own = true }".to_owned(),
    }
}

fn word(word: &Word) -> String {
    match word {
        Word::Null => "{ null = true }".to_owned(),
        Word::Text(word) => text(word),
        Word::Integer(number) => number.to_string(),
    }
}

fn column(column: &ColumnValue) -> String {
    if column.form.is_none() && column.none.is_none() && !column.keep {
        return text(&column.name);
    }
    let mut parts = vec![format!("name = {}", text(&column.name))];
    parts.extend(column.form.map(|form| format!("as = {}", text(form))));
    parts.extend(column.none.as_ref().map(|none| format!("none = {}", word(none))));
    parts.extend(column.keep.then(|| "keep = true".to_owned()));
    format!("{{ {} }}", parts.join(", "))
}

fn key_text(key: &[String]) -> String {
    match key {
        [only] => text(only),
        several => list(several.iter().map(|name| text(name))),
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    format!("[{}]", parts.collect::<Vec<_>>().join(", "))
}

/// The table, so that a dot in a name does not split it.
fn table(table: &TableName) -> String {
    let part = |name: &str| {
        let is_plain = !name.contains(['.', '"']) && name.trim() == name;
        if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
    };
    match table.schema() {
        Some(schema) => text(&format!("{}.{}", part(schema), part(table.name()))),
        None => text(&part(table.name())),
    }
}

/// A key of TOML, in quotes where it must be.
fn bare_key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { text(name) }
}

/// A text of TOML: with single quotes if that saves escaping.
fn text(content: &str) -> String {
    let has_control = content.chars().any(char::is_control);
    if content.contains(['"', '\\']) && !content.contains('\'') && !has_control {
        return format!("'{content}'");
    }
    let mut quoted = String::from('"');
    for character in content.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_content_stay_what_they_are() {
        assert_eq!(text("queued"), "\"queued\"");
        assert_eq!(text("\"createdAt\" is null"), "'\"createdAt\" is null'");
        assert_eq!(text("a'b\"c\n"), "\"a'b\\\"c\\u000A\"");
    }

    #[test]
    fn a_dot_in_a_name_does_not_split_it() {
        assert_eq!(table(&TableName::in_schema("media", "videos")), "\"media.videos\"");
        assert_eq!(table(&TableName::new("odd.name")), "'\"odd.name\"'");
    }

    #[test]
    fn comments_are_wrapped_and_cannot_end_before_their_content() {
        let mut file = String::new();
        comment(&mut file, &format!("one\n{}", "word ".repeat(40)));
        assert!(file.lines().all(|line| line.starts_with('#') && line.len() < 110), "{file}");
    }
}
