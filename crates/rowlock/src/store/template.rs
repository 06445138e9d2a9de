//! From a `.sql` file to the statement of one pipeline.
//!
//! The files use psql's notation for variables, so that they can be read, and pasted once the variables are set:
//!
//! | in the file | becomes |
//! |---|---|
//! | `t.:"status"` | the value of the role in the row `t`, as the lens reads it; `t.:"key"` is the key |
//! | `this.:"status"` | the same in a text that knows one table and no alias, such as an index |
//! | `:"status" = …` | the assignments by which the lens writes the role |
//! | `:"status"` | the quoted name of the column that plays the role |
//! | `:is_ready`, `:this_is_ready` | whether a claim may take the row, once it is due |
//! | `:said_status` | the state by what the table says alone, without the library's own column |
//! | `:order`, `:this_order` | what the queue is ordered by before age, with a comma after it |
//! | `:and_role_values` | after `t.*`: the values that the lens translates |
//! | `:'failed'` | a quoted word: `pipeline`, `succeeded`, `failed`, `cancelled`, `first_ready` |
//! | `:table`, `:rowlock_failures`, `:rowlock_stages`, `:rowlock_meta` | a quoted table, with its schema |
//! | `:ready_words`, `:running_words`, `:terminal_words`, `:known_words` | lists of quoted words |
//! | `:running_of_ready`, `:ready_of_running`, `:next_of_running` | a `case` from the word of item `t` to another |
//! | `:position_of_ready`, `:position_of_running` | the same to the item's place in the queue: 1 is the last stage |
//! | `:ready_of_stage` | a `case` from a stage's name (`s` is its row in `rowlock_stages`) to its ready word |
//! | `:resume_of_any` | the ready word to which a requeue would return a stopped item |
//! | anything else | added by the dialect, e.g. `:key_type`, or a fragment that several verbs share |
//!
//! A statement may have several forms, told apart by flags. Lines between `\if :flag`, `\elif :flag`, `\else` and
//! `\endif`, as in psql, are in the form for which the flag is `true`.
//!
//! A file may hold several statements: each begins after a line `-- step: name`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use super::assignment;
use super::identifier::{Dialect, quote_identifier, quote_literal, quote_literals};
use super::lens::Lens;
use crate::pipeline::{Form, Pipeline, Role, Status};

/// The variables of one pipeline.
#[derive(Clone)]
pub(super) struct Template {
    lens: Lens,
    variables: HashMap<String, Value>,
}

#[derive(Clone)]
enum Value {
    /// Inserted as it is.
    Text(String),
    /// Rendered wherever it is inserted, with the variables of that statement.
    Fragment(&'static str),
    /// The column of a role, as the lens reads and writes it.
    Role(Role),
    /// The key.
    Key,
}

/// The lines from `\if`, `\elif` or `\else` to the next of them.
#[derive(Clone, Copy)]
struct Branch {
    is_taken: bool,
    /// An earlier branch of the same condition was taken.
    is_decided: bool,
}

impl Branch {
    fn next(self, holds: bool) -> Branch {
        let is_decided = self.is_decided || self.is_taken;
        Branch { is_taken: holds && !is_decided, is_decided }
    }
}

/// One statement of a file that holds several; the whole file if no step is named. A file is split before it is
/// rendered, because rendering removes its comments.
pub(super) fn step<'a>(file: &'a str, name: Option<&str>) -> &'a str {
    let Some(name) = name else { return file };
    file.split("-- step: ")
        .find_map(|step| step.strip_prefix(name)?.strip_prefix('\n'))
        .unwrap_or_else(|| panic!("a .sql file has no step {name}"))
}

impl Template {
    pub(super) fn new(pipeline: &Pipeline, dialect: Dialect) -> Template {
        let lens = Lens::new(pipeline, dialect);
        let mut template = Template { lens, variables: HashMap::new() };
        template.set_columns();
        template.set_tables(pipeline);
        template.set_words(pipeline, dialect);
        template.set_cases(pipeline, dialect);
        template.set_readiness();
        let is_stamp = pipeline.columns().spec(Role::Heartbeat).form != Form::Expiry;
        template.insert("heartbeat_is_a_stamp", is_stamp.to_string());
        template.set_said_status();
        template.set_role_values(dialect);
        template
    }

    /// Adds a variable of the dialect, and renders its text first.
    pub(super) fn set(&mut self, variable: &str, sql: &str) {
        let rendered = self.render(sql);
        self.insert(variable, rendered);
    }

    /// Adds a fragment, which is rendered with each statement that it is part of.
    pub(super) fn add_fragment(&mut self, variable: &str, sql: &'static str) {
        self.variables.insert(variable.to_owned(), Value::Fragment(sql));
    }

    /// The statement, without its comments.
    ///
    /// # Panics
    /// If the file names a variable that does not exist, or leaves a condition open: a mistake in a file of this crate,
    /// which every test of that file finds.
    pub(super) fn render(&self, file: &str) -> String {
        let mut sql = String::with_capacity(file.len() * 2);
        let mut branches = Vec::new();
        for line in file.lines().map(without_comment).filter(|line| !line.trim().is_empty()) {
            if let Some(command) = line.trim_start().strip_prefix('\\') {
                self.follow(command, &mut branches);
            } else if branches.iter().all(|branch: &Branch| branch.is_taken) {
                if !sql.is_empty() {
                    sql.push('\n');
                }
                self.render_line(line, &mut sql);
            }
        }
        assert!(branches.is_empty(), "a .sql file has \\if without \\endif");
        if !sql.contains(assignment::BEGIN) {
            return sql;
        }
        assignment::replace(&sql, |role, value| {
            let role = Role::ALL[role];
            let column = self.lens.column(role);
            self.lens.write(role, value).unwrap_or_else(|| format!("{column} = {value}"))
        })
    }

    /// Sets what `add_many` writes beside the key: the first stage's ready state, unless it is the default.
    pub(super) fn set_added(&mut self, has_other_default: bool) {
        let (mut columns, mut values) = (String::new(), String::new());
        for (column, value) in self.lens.ready_state().filter(|_| has_other_default) {
            let _ = write!(columns, ", {column}");
            let _ = write!(values, ", {value}");
        }
        self.insert("and_status", columns);
        self.insert("and_first_ready", values);
    }

    /// Sets the definition of the key in a new table.
    pub(super) fn set_key_definition(&mut self, key_type: &str) {
        let definition = self.lens.key_definition(key_type);
        self.insert("key_definition", definition);
    }

    /// The value of a role in the row of this alias, as SQL.
    pub(super) fn read(&self, role: Role, alias: &str) -> String {
        self.lens.read(role, Some(alias))
    }

    /// Follows a command of psql's.
    fn follow(&self, command: &str, branches: &mut Vec<Branch>) {
        let (word, flag) = command.split_once(" :").unwrap_or((command, ""));
        let holds = match (word, self.variables.get(flag)) {
            ("if" | "elif", Some(Value::Text(text))) => text == "true",
            ("else" | "endif", None) => true,
            _ => panic!("a .sql file has \\{command}, which is no command, or asks for no flag"),
        };
        let last = branches.pop();
        match (word, last) {
            ("if", outer) => {
                branches.extend(outer);
                branches.push(Branch { is_taken: holds, is_decided: false });
            }
            ("elif" | "else", Some(branch)) => branches.push(branch.next(holds)),
            ("endif", Some(_)) => {}
            _ => panic!("a .sql file has \\{command} without \\if"),
        }
    }

    fn render_line(&self, line: &str, sql: &mut String) {
        let mut rest = line;
        while let Some(colon) = rest.find(':') {
            sql.push_str(&rest[..colon]);
            let after = &rest[colon + 1..];
            match variable_at(after) {
                Some((name, length)) => {
                    match self.variables.get(name) {
                        Some(Value::Text(text)) => sql.push_str(text),
                        Some(Value::Fragment(fragment)) => sql.push_str(&self.render(fragment)),
                        Some(Value::Role(role)) => self.render_role(*role, &after[length..], sql),
                        Some(Value::Key) => match take_alias(sql) {
                            Some(alias) => sql.push_str(&self.lens.read_key(alias.as_deref())),
                            None => sql.push_str(&self.lens.key_columns()),
                        },
                        None => panic!("a .sql file names :{name}, which does not exist"),
                    }
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

    /// A role after an alias is its value. Without one it is the column that an assignment writes, or its bare name.
    fn render_role(&self, role: Role, after: &str, sql: &mut String) {
        match take_alias(sql) {
            Some(alias) => sql.push_str(&self.lens.read(role, alias.as_deref())),
            None if after.starts_with(" = ") => {
                let _ = write!(sql, "{}{}{}", assignment::BEGIN, role as usize, assignment::END);
            }
            None => sql.push_str(&self.lens.column(role)),
        }
    }

    fn set_columns(&mut self) {
        self.variables.insert("\"key\"".to_owned(), Value::Key);
        for role in Role::ALL {
            self.variables.insert(format!("\"{}\"", role.default_column()), Value::Role(role));
        }
    }

    /// The values of the roles that the lens translates, after the columns of the row `t`.
    fn set_role_values(&mut self, dialect: Dialect) {
        let mut values = String::new();
        for role in Role::ALL.into_iter().filter(|role| self.lens.translates_role(*role)) {
            let value = self.lens.read(role, Some("t"));
            let _ = write!(values, ", {value} as rowlock_{}", role.default_column());
        }
        // PostgreSQL's statements return the key as text in any case.
        if dialect == Dialect::Sqlite && self.lens.has_many_key_columns() {
            let _ = write!(values, ", {} as rowlock_key", self.lens.read_key(Some("t")));
        }
        self.insert("and_role_values", values);
    }

    /// What makes a row one that a claim may take, in a statement's row `t`, and in the text of an index (`this_`).
    fn set_readiness(&mut self) {
        for (prefix, alias) in [("", "t"), ("this_", "this")] {
            let wanted = self.lens.is_wanted((alias == "t").then_some(alias));
            let ready = self.render(&format!("{alias}.:\"status\" in (:ready_words)"));
            self.insert(&format!("{prefix}is_wanted"), wanted.clone().unwrap_or_else(|| "true".to_owned()));
            let ready = match wanted {
                Some(wanted) => format!("{ready} and {wanted}"),
                None => ready,
            };
            self.insert(&format!("{prefix}is_ready"), ready);
            self.insert(&format!("{prefix}order"), self.lens.order((alias == "t").then_some(alias)));
            let ignored = self.lens.is_ignored((alias == "t").then_some(alias));
            let ignored = ignored.map(|ignored| format!(" and {ignored} is not true")).unwrap_or_default();
            self.insert(&format!("{prefix}and_not_ignored"), ignored);
        }
    }

    /// The state by what the table says alone: for a table that may lack the library's own column.
    fn set_said_status(&mut self) {
        let said = self.lens.read_said_status(Some("t"));
        self.insert("said_status", said);
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
        let status = self.lens.read(Role::Status, Some("t"));
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
        self.variables.insert(variable.to_owned(), Value::Text(sql));
    }
}

/// The name of a role's value in a row: the role's column, or one that the statement adds if the lens translates it.
pub(super) fn value_name(pipeline: &Pipeline, role: Role) -> Cow<'_, str> {
    if Lens::translates(pipeline, role) {
        Cow::Owned(format!("rowlock_{}", role.default_column()))
    } else {
        Cow::Borrowed(pipeline.columns().name(role))
    }
}

/// Takes the alias off the end of a text that ends in one and a dot. `this` stands for the only table of a text: it is
/// an alias to the reader, and none in the SQL.
#[expect(clippy::option_option, reason = "no alias, the alias that is none, an alias")]
fn take_alias(sql: &mut String) -> Option<Option<String>> {
    let named = sql.strip_suffix('.')?;
    let begin = named.rfind(|c: char| !is_name_character(c)).map_or(0, |before| before + 1);
    let alias = named[begin..].to_owned();
    if alias.is_empty() {
        return None;
    }
    sql.truncate(begin);
    Some((alias != "this").then_some(alias))
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
    fn a_form_has_the_lines_of_its_flags() {
        let form = |flags: [&str; 3]| {
            let mut template = template();
            for (name, value) in ["a", "b", "c"].into_iter().zip(flags) {
                template.insert(name, value.to_owned());
            }
            template.render("1\n\\if :a\n2\n  \\if :c\n3\n  \\endif\n\\elif :b\n4\n\\else\n5\n\\endif -- of a\n6")
        };
        assert_eq!(form(["true", "true", "false"]), "1\n2\n6");
        assert_eq!(form(["true", "false", "true"]), "1\n2\n3\n6");
        assert_eq!(form(["false", "true", "true"]), "1\n4\n6");
        assert_eq!(form(["false", "false", "true"]), "1\n5\n6");
    }

    #[test]
    fn a_fragment_is_rendered_with_the_flags_of_its_statement() {
        let mut template = template();
        template.add_fragment("lock", "\\if :waits\nfor update\n\\else\nfor update skip locked\n\\endif");
        let mut waiting = template.clone();
        template.insert("waits", "false".to_owned());
        waiting.insert("waits", "true".to_owned());
        assert_eq!(template.render("select\n:lock"), "select\nfor update skip locked");
        assert_eq!(waiting.render("select\n:lock"), "select\nfor update");
    }

    #[test]
    fn a_step_ends_where_the_next_one_begins() {
        let file = "-- list: items.\n\n-- step: any\nselect 1\n\n-- step: any_after\nselect 2\n";
        assert_eq!(template().render(step(file, Some("any"))), "select 1");
        assert_eq!(template().render(step(file, Some("any_after"))), "select 2");
        assert_eq!(template().render(step(file, None)), "select 1\nselect 2");
    }

    #[test]
    fn a_value_with_a_colon_is_not_rendered_again() {
        let pipeline = Pipeline::builder(":table").table("t").key("id").stage("A").build().expect("a valid pipeline");
        assert_eq!(Template::new(&pipeline, Dialect::Sqlite).render(":'pipeline'"), "':table'");
    }
}
