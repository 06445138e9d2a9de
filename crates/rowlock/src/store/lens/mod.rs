//! How a pipeline's roles are read from the user's columns, and written to them.
//!
//! The statements are written for an ideal table, with a column for each role and a word for each state. Where the
//! user's table is another, the lens translates what they read and write, as their text is rendered. A role that its
//! column holds as it is needs no translation: then the text names the column.

mod forms;

use super::identifier::{Dialect, quote_identifier, quote_literal};
use super::proof;
use crate::pipeline::{Event, Pipeline, Role, Sign, Status, StatusType, Word, expression};

/// What a row is in that is in no state of the pipeline, where its own word cannot be shown.
const NO_STATE: &str = "(other)";

/// The alias by which the statements call the row that they write.
const WRITTEN: &str = "t";

/// A pipeline's roles, as a dialect reads and writes them.
#[derive(Clone)]
pub(crate) struct Lens {
    dialect: Dialect,
    pipeline: Pipeline,
}

impl Lens {
    pub(crate) fn new(pipeline: &Pipeline, dialect: Dialect) -> Lens {
        Lens { dialect, pipeline: pipeline.clone() }
    }

    /// Whether a role's value is another than its column's.
    pub(super) fn translates(pipeline: &Pipeline, role: Role) -> bool {
        match role {
            Role::Status => !pipeline.has_plain_status(),
            _ => !pipeline.columns().spec(role).is_plain(),
        }
    }

    pub(super) fn translates_role(&self, role: Role) -> bool {
        Lens::translates(&self.pipeline, role)
    }

    /// The value of a role in the row of this alias; without an alias, in a text that knows one table.
    pub(crate) fn read(&self, role: Role, alias: Option<&str>) -> String {
        if role == Role::Status && !self.pipeline.has_plain_status() {
            return self.read_status(alias);
        }
        let spec = self.pipeline.columns().spec(role);
        let raw = column(alias, &spec.name);
        if spec.is_plain() { raw } else { self.read_form(spec, &raw) }
    }

    /// The key of the row of this alias. A key of several columns is a text, in which no value can pass for two.
    pub(super) fn read_key(&self, alias: Option<&str>) -> String {
        let columns = self.pipeline.key_columns();
        if let [key] = columns {
            return column(alias, key);
        }
        let text = match self.dialect {
            Dialect::Postgres => "::text",
            Dialect::Sqlite => "",
        };
        let [backslash, doubled, slash] = ["\\", "\\\\", "\\/"].map(|text| self.literal(text));
        let parts = columns.iter().map(|name| {
            let value = format!("{}{text}", column(alias, name));
            format!("replace(replace({value}, {backslash}, {doubled}), '/', {slash})")
        });
        format!("({})", parts.collect::<Vec<_>>().join(" || '/' || "))
    }

    pub(super) fn has_many_key_columns(&self) -> bool {
        self.pipeline.key_columns().len() > 1
    }

    /// The definition of the key in a new table, with this type for each column.
    pub(super) fn key_definition(&self, key_type: &str) -> String {
        match self.pipeline.key_columns() {
            [key] => format!("{} {key_type} primary key", quote_identifier(key)),
            columns => {
                let typed: Vec<String> =
                    columns.iter().map(|name| format!("{} {key_type} not null", quote_identifier(name))).collect();
                format!("{},\n  primary key ({})", typed.join(",\n  "), self.key_columns())
            }
        }
    }

    /// The name of a role's column, quoted.
    pub(super) fn column(&self, role: Role) -> String {
        quote_identifier(self.pipeline.columns().name(role))
    }

    /// The names of the key's columns, quoted.
    pub(super) fn key_columns(&self) -> String {
        let columns: Vec<String> = self.pipeline.key_columns().iter().map(|name| quote_identifier(name)).collect();
        columns.join(", ")
    }

    /// The assignments that give a role the value of this SQL; `None` if the role's column takes it as it is.
    pub(crate) fn write(&self, role: Role, value: &str) -> Option<String> {
        if role == Role::Status {
            let is_plain = self.pipeline.has_plain_status() && self.pipeline.assignments().is_empty();
            return (!is_plain).then(|| self.write_status(value));
        }
        let spec = self.pipeline.columns().spec(role);
        if spec.is_plain() {
            return None;
        }
        let written = self.write_form(role, spec, value);
        Some(format!("{} = {written}", quote_identifier(&spec.name)))
    }

    /// A condition on the row of this alias: whether what the pipeline asks of a ready row besides holds.
    pub(super) fn is_wanted(&self, alias: Option<&str>) -> Option<String> {
        self.pipeline.claim_where().map(|condition| format!("({})", qualified(condition, alias)))
    }

    /// What the queue is ordered by before age, each with a comma after it; empty if by nothing.
    pub(super) fn order(&self, alias: Option<&str>) -> String {
        let in_order = |expression: &String| {
            let (value, direction) = split_direction(expression);
            format!("({}){direction}, ", qualified(value, alias))
        };
        self.pipeline.order().iter().map(in_order).collect()
    }

    /// Whether the row of this alias has a word that the pipeline ignores.
    pub(super) fn is_ignored(&self, alias: Option<&str>) -> Option<String> {
        let ignored = self.pipeline.ignored();
        (!ignored.is_empty()).then(|| self.has_word(alias, ignored))
    }

    // What the proof of a description asks

    /// The state by what the table says alone, without a look at the library's own column.
    pub(super) fn read_said_status(&self, alias: Option<&str>) -> String {
        if self.pipeline.has_plain_status() { self.read(Role::Status, alias) } else { self.read_said(alias, false) }
    }

    /// The names of all states that the table says of a row, with commas between them, as a text.
    pub(super) fn said_states(&self, alias: Option<&str>) -> String {
        let parts: Vec<String> = self
            .conditions(alias)
            .into_iter()
            .map(|(name, condition)| format!("coalesce(case when {condition} then {} end, '')", self.literal(&name)))
            .collect();
        format!("substr({}, 3)", parts.join(" || "))
    }

    /// How many states the table says of a row; ignored words count as one.
    pub(super) fn count_said(&self, alias: Option<&str>) -> String {
        let conditions = self.conditions(alias).into_iter();
        let parts: Vec<String> =
            conditions.map(|(_, condition)| format!("case when {condition} then 1 else 0 end")).collect();
        format!("({})", parts.join(" + "))
    }

    /// The literal that [`Lens::said_states`] gives for a row in this state alone; `None` if the table cannot say it.
    pub(super) fn said_alone(&self, status: Status) -> Option<String> {
        (*self.pipeline.sign(status) != Sign::Own).then(|| self.literal(&proof::described(&self.pipeline, status)))
    }

    /// The name of a state, as a literal.
    pub(super) fn state_name(&self, status: Status) -> String {
        self.name(status)
    }

    /// The columns that a row's move into this state writes, and their values over the row `t` before it. The columns
    /// of events are not among them.
    pub(super) fn written_state(&self, status: Status) -> Vec<(String, String)> {
        let of_column = |StateColumn { name, values }: StateColumn| {
            let (_, value) = values.into_iter().find(|(of, _)| *of == status)?;
            Some((name, value))
        };
        self.state_columns().into_iter().filter_map(of_column).collect()
    }

    /// The conditions by which the table says states, each after `, ` and what the state is; and that of ignored words.
    fn conditions(&self, alias: Option<&str>) -> Vec<(String, String)> {
        let pipeline = &self.pipeline;
        let of_status = |status: Status| {
            let condition = match pipeline.sign(status) {
                Sign::Words(words) => self.has_word(alias, words),
                Sign::Sql { is, .. } => format!("({})", qualified(is, alias)),
                Sign::Own => return None,
            };
            Some((format!(", {}", proof::described(pipeline, status)), condition))
        };
        let mut conditions: Vec<(String, String)> = pipeline.statuses().filter_map(of_status).collect();
        conditions.extend(self.is_ignored(alias).map(|ignored| (", the ignored words".to_owned(), ignored)));
        conditions
    }

    fn literal(&self, text: &str) -> String {
        quote_literal(text, self.dialect)
    }

    fn name(&self, status: Status) -> String {
        self.literal(self.pipeline.word(status))
    }

    // States

    fn read_status(&self, alias: Option<&str>) -> String {
        self.read_said(alias, true)
    }

    /// The state by what the table says, and where it is `refined`, by the library's own column.
    fn read_said(&self, alias: Option<&str>, refined: bool) -> String {
        let pipeline = &self.pipeline;
        let own = column(alias, pipeline.columns().own_state());
        let mut arms = Vec::new();
        // A condition may hold for a row whose word is to be ignored.
        if pipeline.statuses().any(|status| matches!(pipeline.sign(status), Sign::Sql { .. })) {
            arms.extend(
                self.is_ignored(alias).map(|ignored| format!("when {ignored} then {}", self.literal(NO_STATE))),
            );
        }
        for status in pipeline.statuses() {
            let condition = match pipeline.sign(status) {
                Sign::Words(words) => self.has_word(alias, words),
                Sign::Sql { is, .. } => format!("({})", qualified(is, alias)),
                Sign::Own => continue,
            };
            let name = self.name(status);
            // A state of the library's own is a closer look at one that the table says.
            let is_refined = refined && pipeline.has_own_state() && !status.is_terminal();
            let state = if is_refined { format!("coalesce({own}, {name})") } else { name };
            arms.push(format!("when {condition} then {state}"));
        }
        format!("(case {}{} end)", arms.join(" "), self.read_other_state(alias))
    }

    /// The end of the `case` over the states: the column's own word, unless it would pass for a state's name.
    fn read_other_state(&self, alias: Option<&str>) -> String {
        let pipeline = &self.pipeline;
        let other = self.literal(NO_STATE);
        if !pipeline.has_status_column() || pipeline.status_type() == StatusType::Enum {
            return format!(" else {other}");
        }
        let raw = column(alias, pipeline.columns().name(Role::Status));
        let shown = match self.dialect {
            Dialect::Postgres => format!("{raw}::text"),
            Dialect::Sqlite => format!("cast({raw} as text)"),
        };
        let is_name_alone = |status: &Status| pipeline.sign(*status).words().is_empty();
        let names: Vec<String> = pipeline.statuses().filter(is_name_alone).map(|status| self.name(status)).collect();
        if names.is_empty() {
            return format!(" else {shown}");
        }
        format!(" when {shown} in ({}) then {other} else {shown}", names.join(", "))
    }

    /// Whether the status column has one of these words.
    fn has_word(&self, alias: Option<&str>, words: &[Word]) -> String {
        let raw = column(alias, self.pipeline.columns().name(Role::Status));
        let literals: Vec<String> = words.iter().filter_map(|word| self.word_literal(word)).collect();
        let mut conditions = Vec::new();
        if !literals.is_empty() {
            conditions.push(format!("{raw} in ({})", literals.join(", ")));
        }
        if words.contains(&Word::Null) {
            conditions.push(format!("{raw} is null"));
        }
        format!("({})", conditions.join(" or "))
    }

    /// The literal of a word; `None` for null.
    fn word_literal(&self, word: &Word) -> Option<String> {
        match word {
            Word::Null => None,
            Word::Text(text) => Some(self.literal(text)),
            Word::Integer(number) => Some(number.to_string()),
            Word::Boolean(truth) => Some(truth.to_string()),
        }
    }

    /// The columns that say the states, with what each state writes there.
    fn state_columns(&self) -> Vec<StateColumn> {
        let pipeline = &self.pipeline;
        let mut columns = Vec::new();
        for status in pipeline.statuses() {
            match pipeline.sign(status) {
                Sign::Words(words) => {
                    let value = words.first().and_then(|word| self.word_literal(word));
                    let name = pipeline.columns().name(Role::Status);
                    StateColumn::add(&mut columns, name, status, value.unwrap_or_else(|| "null".to_owned()));
                }
                Sign::Sql { set, .. } => {
                    for (column, value) in set {
                        let value = format!("({})", qualified(value, Some(WRITTEN)));
                        StateColumn::add(&mut columns, column, status, value);
                    }
                }
                Sign::Own => {}
            }
        }
        if pipeline.has_own_state() {
            self.add_own_states(&mut columns);
        }
        columns
    }

    /// What a state of the library's own writes. It is a closer look at a row that is ready or in progress by what the
    /// table says. One that is neither, which an operator puts into such a state, becomes ready by what the table says.
    fn add_own_states(&self, columns: &mut Vec<StateColumn>) {
        let pipeline = &self.pipeline;
        let open: Vec<String> =
            pipeline.statuses().filter(|status| !status.is_terminal()).map(|status| self.name(status)).collect();
        let is_open = format!("{} in ({})", self.read_said(Some(WRITTEN), false), open.join(", "));
        let ready = Status::Ready(crate::StageId::FIRST);
        let is_own = |status: &Status| *pipeline.sign(*status) == Sign::Own;
        for status in pipeline.statuses().filter(is_own).filter(|status| status.is_terminal()) {
            for StateColumn { name, values } in &mut *columns {
                let kept = column(Some(WRITTEN), name);
                let ready = values.iter().find(|(of, _)| *of == ready).map_or(kept.as_str(), |(_, value)| value);
                let value = format!("case when {is_open} then {kept} else {ready} end");
                values.push((status, value));
            }
        }
        for status in pipeline.statuses() {
            let value = if is_own(&status) { self.name(status) } else { "null".to_owned() };
            StateColumn::add(columns, pipeline.columns().own_state(), status, value);
        }
    }

    /// The assignments that put a row into the state whose name this SQL gives, and those of the events.
    fn write_status(&self, state: &str) -> String {
        let mut assignments = Vec::new();
        if self.pipeline.has_plain_status() {
            assignments.push(format!("{} = {state}", quote_identifier(self.pipeline.columns().name(Role::Status))));
        } else {
            for StateColumn { name, values } in self.state_columns() {
                let arms: Vec<String> =
                    values.iter().map(|(status, value)| format!("when {} then {value}", self.name(*status))).collect();
                // The column itself gives the `case` its type, e.g. that of an enum.
                assignments.push(format!(
                    "{} = case ({state}) {} else {} end",
                    quote_identifier(&name),
                    arms.join(" "),
                    column(Some(WRITTEN), &name)
                ));
            }
        }
        assignments.extend(self.write_events(state));
        assignments.join(",\n    ")
    }

    /// The columns of the first stage's ready state, quoted, and their values.
    pub(super) fn ready_state(&self) -> impl Iterator<Item = (String, String)> {
        let first = Status::Ready(crate::StageId::FIRST);
        self.state_columns().into_iter().filter_map(move |StateColumn { name, values }| {
            let (_, value) = values.into_iter().find(|(status, _)| *status == first)?;
            Some((quote_identifier(&name), value))
        })
    }

    fn write_events(&self, state: &str) -> Vec<String> {
        let mut names: Vec<&str> = Vec::new();
        for assignment in self.pipeline.assignments() {
            if !names.contains(&assignment.column.as_str()) {
                names.push(&assignment.column);
            }
        }
        names.into_iter().map(|name| self.write_at_events(name, state)).collect()
    }

    fn write_at_events(&self, name: &str, state: &str) -> String {
        let (mut arms, mut otherwise) = (Vec::new(), column(Some(WRITTEN), name));
        for assignment in self.pipeline.assignments().iter().filter(|assignment| assignment.column == name) {
            let value = format!("({})", qualified(&assignment.value, Some(WRITTEN)));
            match assignment.event {
                Event::EveryMove => otherwise = value,
                event => arms.push(format!("when {} then {value}", self.happens(event, state))),
            }
        }
        let name = quote_identifier(name);
        if arms.is_empty() {
            return format!("{name} = {otherwise}");
        }
        format!("{name} = case {} else {otherwise} end", arms.join(" "))
    }

    /// Whether a move to this state is an event.
    fn happens(&self, event: Event, state: &str) -> String {
        let pipeline = &self.pipeline;
        let was = self.read(Role::Status, Some(WRITTEN));
        let from_stage = |to: &dyn Fn(crate::StageId) -> Status| {
            let arms: Vec<String> = pipeline
                .stage_ids()
                .map(|stage| format!("when {} then {}", self.name(Status::InProgress(stage)), self.name(to(stage))))
                .collect();
            format!("({state}) = case {was} {} end", arms.join(" "))
        };
        match event {
            Event::Claim => {
                let running: Vec<String> =
                    pipeline.stage_ids().map(|stage| self.name(Status::InProgress(stage))).collect();
                format!("({state}) in ({})", running.join(", "))
            }
            Event::Success => from_stage(&|stage| pipeline.completed(stage)),
            Event::Failure => format!("({state}) = {}", self.name(Status::Failed)),
            Event::Retry => from_stage(&Status::Ready),
            Event::EveryMove => "true".to_owned(),
        }
    }
}

/// A column that says states, and the SQL of what each state writes there.
struct StateColumn {
    name: String,
    values: Vec<(Status, String)>,
}

impl StateColumn {
    fn add(columns: &mut Vec<StateColumn>, name: &str, status: Status, value: String) {
        match columns.iter_mut().find(|column| column.name == name) {
            Some(column) => column.values.push((status, value)),
            None => columns.push(StateColumn { name: name.to_owned(), values: vec![(status, value)] }),
        }
    }
}

/// An expression of an order, and the direction after it: `desc`, `nulls last`. An index wants the parentheses between
/// the two.
fn split_direction(expression: &str) -> (&str, &str) {
    let mut value = expression.trim_end();
    while let Some(word) = value.rsplit(char::is_whitespace).next()
        && ["asc", "desc", "nulls", "first", "last"].iter().any(|known| known.eq_ignore_ascii_case(word))
        && word.len() < value.len()
    {
        value = value[..value.len() - word.len()].trim_end();
    }
    (value, &expression[value.len()..])
}

fn column(alias: Option<&str>, name: &str) -> String {
    match alias {
        Some(alias) => format!("{alias}.{}", quote_identifier(name)),
        None => quote_identifier(name),
    }
}

fn qualified(sql: &str, alias: Option<&str>) -> String {
    match alias {
        Some(alias) => expression::qualify(sql, alias),
        None => sql.to_owned(),
    }
}

#[cfg(test)]
mod tests;
