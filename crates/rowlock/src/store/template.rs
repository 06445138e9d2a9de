//! From a `.sql` file to the statement of one pipeline.
//!
//! The files use psql's notation for variables, so that they can be read, and pasted once the variables are set:
//!
//! | in the file | becomes |
//! |---|---|
//! | `:"status"` | the quoted name of the column that plays the role; `:"key"` is the key column |
//! | `:'failed'` | a quoted word: `pipeline`, `succeeded`, `failed`, `cancelled`, `first_ready` |
//! | `:table`, `:rowlock_failures`, `:rowlock_stages`, `:rowlock_meta` | a quoted table, with its schema |
//! | `:ready_words`, `:running_words`, `:terminal_words`, `:known_words` | lists of quoted words |
//! | `:running_of_ready`, `:ready_of_running`, `:next_of_running` | a `case` from the word of item `t` to another |
//! | `:position_of_ready`, `:position_of_running` | the same to the item's place in the queue: 1 is the last stage |
//! | `:ready_of_stage` | a `case` from a stage's name (`s` is its row in `rowlock_stages`) to its ready word |
//! | `:resume_of_any` | the ready word to which a requeue would return a stopped item |
//! | anything else | added by the dialect, e.g. `:key_type`, `:lock`, or a fragment that several verbs share |

use std::collections::HashMap;

use super::identifier::{Dialect, quote_identifier, quote_literal, quote_literals};
use crate::pipeline::{Pipeline, Role, Status};

/// The variables of one pipeline.
#[derive(Clone)]
pub(super) struct Template {
    variables: HashMap<String, String>,
}

impl Template {
    pub(super) fn new(pipeline: &Pipeline, dialect: Dialect) -> Template {
        let mut template = Template { variables: HashMap::new() };
        template.set_columns(pipeline);
        template.set_tables(pipeline);
        template.set_words(pipeline, dialect);
        template.set_cases(pipeline, dialect);
        template
    }

    /// Adds a variable of the dialect, or a fragment, which is rendered first.
    pub(super) fn set(&mut self, variable: &str, sql: &str) {
        let rendered = self.render(sql);
        self.variables.insert(variable.to_owned(), rendered);
    }

    /// The statement, without its comments.
    ///
    /// # Panics
    /// If the file names a variable that does not exist: a mistake in a file of this crate, which every test of that
    /// file finds.
    pub(super) fn render(&self, file: &str) -> String {
        let mut sql = String::with_capacity(file.len() * 2);
        let mut lines = file.lines().map(without_comment).filter(|line| !line.trim().is_empty());
        if let Some(first) = lines.next() {
            self.render_line(first, &mut sql);
        }
        for line in lines {
            sql.push('\n');
            self.render_line(line, &mut sql);
        }
        sql
    }

    fn render_line(&self, line: &str, sql: &mut String) {
        let mut rest = line;
        while let Some(colon) = rest.find(':') {
            sql.push_str(&rest[..colon]);
            let after = &rest[colon + 1..];
            match variable_at(after) {
                Some((name, length)) => {
                    let value = self.variables.get(name);
                    sql.push_str(value.unwrap_or_else(|| panic!("a .sql file names :{name}, which does not exist")));
                    rest = &after[length..];
                }
                None => {
                    let skipped = if after.starts_with(':') { 2 } else { 1 };
                    sql.push_str(&rest[colon..colon + skipped]);
                    rest = &rest[colon + skipped..];
                }
            }
        }
        sql.push_str(rest);
    }

    fn set_columns(&mut self, pipeline: &Pipeline) {
        self.insert("\"key\"", quote_identifier(pipeline.key()));
        for role in Role::ALL {
            let name = format!("\"{}\"", role.default_column());
            self.insert(&name, quote_identifier(pipeline.columns().name(role)));
        }
    }

    fn set_tables(&mut self, pipeline: &Pipeline) {
        let schema = pipeline.table().schema().map(quote_identifier);
        let qualify = |name: &str| match &schema {
            Some(schema) => format!("{schema}.{}", quote_identifier(name)),
            None => quote_identifier(name),
        };
        self.insert("table", qualify(pipeline.table().name()));
        for own in ["rowlock_failures", "rowlock_stages", "rowlock_meta"] {
            self.insert(own, qualify(own));
        }
    }

    fn set_words(&mut self, pipeline: &Pipeline, dialect: Dialect) {
        let literal = |word: &str| quote_literal(word, dialect);
        self.insert("'pipeline'", literal(pipeline.name()));
        self.insert("'succeeded'", literal(pipeline.word(Status::Succeeded)));
        self.insert("'failed'", literal(pipeline.word(Status::Failed)));
        self.insert("'cancelled'", literal(pipeline.word(Status::Cancelled)));
        self.insert("'first_ready'", literal(pipeline.stages()[0].ready_word()));

        let list = |keep: fn(Status) -> bool| {
            quote_literals(
                pipeline.statuses().filter(|status| keep(*status)).map(|status| pipeline.word(status)),
                dialect,
            )
        };
        self.insert("ready_words", list(Status::is_ready));
        self.insert("running_words", list(Status::is_in_progress));
        self.insert("terminal_words", list(Status::is_terminal));
        self.insert("known_words", list(|_| true));
    }

    fn set_cases(&mut self, pipeline: &Pipeline, dialect: Dialect) {
        let status = format!("t.{}", quote_identifier(pipeline.columns().name(Role::Status)));
        let literal = |word: &str| quote_literal(word, dialect);
        let case = |arms: Vec<(&str, String)>| {
            let arms: Vec<String> =
                arms.into_iter().map(|(word, value)| format!("when {} then {value}", literal(word))).collect();
            format!("case {status} {} end", arms.join(" "))
        };
        let stages = pipeline.stages();
        let position = |index: usize| (stages.len() - index).to_string();
        let of_stages = |from: fn(&crate::Stage) -> &str, to: &dyn Fn(usize) -> String| {
            case(stages.iter().enumerate().map(|(index, stage)| (from(stage), to(index))).collect())
        };
        let ready = crate::Stage::ready_word;
        let running = crate::Stage::running_word;
        self.insert("running_of_ready", of_stages(ready, &|index| literal(stages[index].running_word())));
        self.insert("ready_of_running", of_stages(running, &|index| literal(stages[index].ready_word())));
        self.insert("position_of_ready", of_stages(ready, &position));
        self.insert("position_of_running", of_stages(running, &position));
        let next = |index: usize| match stages.get(index + 1) {
            Some(next) => literal(next.ready_word()),
            None => literal(pipeline.word(Status::Succeeded)),
        };
        self.insert("next_of_running", of_stages(running, &next));
        let stage_named =
            stages.iter().map(|stage| format!("when {} then {}", literal(stage.name()), literal(stage.ready_word())));
        self.insert("ready_of_stage", format!("case s.stage {} end", stage_named.collect::<Vec<_>>().join(" ")));
        let mut resume: Vec<(&str, String)> = Vec::new();
        for stage in stages {
            resume.push((stage.ready_word(), literal(stage.ready_word())));
            resume.push((stage.running_word(), literal(stage.ready_word())));
        }
        self.insert("resume_of_any", case(resume));
    }

    /// Adds a variable whose text is inserted as it is: quoted words may hold anything.
    pub(super) fn insert(&mut self, variable: &str, sql: String) {
        self.variables.insert(variable.to_owned(), sql);
    }
}

/// The variable at the start of a text, with its length in the text.
fn variable_at(text: &str) -> Option<(&str, usize)> {
    let first = text.chars().next()?;
    let length = match first {
        '"' | '\'' => {
            let inner = text[1..].find(|c: char| !is_name_character(c))?;
            (inner > 0 && text[1 + inner..].starts_with(first)).then_some(inner + 2)?
        }
        'a'..='z' => text.find(|c: char| !is_name_character(c)).unwrap_or(text.len()),
        _ => return None,
    };
    Some((&text[..length], length))
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// A line without a comment at its end. No file has `--` inside a literal.
fn without_comment(line: &str) -> &str {
    line.find("--").map_or(line, |start| &line[..start]).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        let pipeline = Pipeline::builder("videos")
            .table("my \"table\"")
            .key("id")
            .stage("A")
            .stage("B")
            .column(Role::Status, "state")
            .build()
            .expect("a valid pipeline");
        Template::new(&pipeline, Dialect::Postgres)
    }

    #[test]
    fn names_and_words_are_quoted_and_casts_and_times_are_left_alone() {
        let sql = template().render("select :\"status\"::text, '%H:%M', :'failed' -- why\n-- header\nfrom :table t");
        assert_eq!(sql, "select \"state\"::text, '%H:%M', 'FAILED'\nfrom \"my \"\"table\"\"\" t");
    }

    #[test]
    fn cases_lead_from_word_to_word() {
        assert_eq!(
            template().render(":next_of_running"),
            "case t.\"state\" when 'A_IN_PROGRESS' then 'A_COMPLETE' when 'B_IN_PROGRESS' then 'SUCCEEDED' end"
        );
    }

    #[test]
    fn a_value_with_a_colon_is_not_rendered_again() {
        let pipeline = Pipeline::builder(":table").table("t").key("id").stage("A").build().expect("a valid pipeline");
        assert_eq!(Template::new(&pipeline, Dialect::Sqlite).render(":'pipeline'"), "':table'");
    }
}
