//! From the text of a file to its description, or to everything that is wrong with it.

use rowlock::pipeline::{Event, Sign, Word};
use rowlock::{Existing, KeyType, TableName};
use toml_edit::{Document, Item, TableLike, TomlError, Value};

use super::columns::Columns;
use super::keys::{ON, STAGE, TOP};
use super::problem::{Problem, Problems, Source, Span};
use super::reader::{Entry, Reader, a_kind};
use super::state::SaidWord;
use super::{Assignment, Description, Limits, StageDescription, Timeout, values};
use crate::secrets::has_password;

const STAGE_RULE: &str = "a pipeline has at least one stage: [[stage]], with its name, `ready` and `running`";

const EVENTS: &[(&str, Event)] = &[
    ("claim", Event::Claim),
    ("success", Event::Success),
    ("failure", Event::Failure),
    ("retry", Event::Retry),
    ("every_move", Event::EveryMove),
];

pub(super) fn parse(source: Source) -> Result<Description, Problems> {
    let text = std::sync::Arc::clone(&source.text);
    let document = match Document::parse(&*text) {
        Ok(document) => document,
        Err(error) => return Err(Problems::new(source, vec![syntax(&error)])),
    };
    let mut reader = Reader::default();
    let mut draft = Draft::default();
    let top = document.as_table();
    for entry in reader.entries(top, "", TOP) {
        draft.read(&mut reader, &entry);
    }
    draft.finish(reader, source)
}

fn syntax(error: &TomlError) -> Problem {
    let rule = if error.message().starts_with("duplicate key") {
        "a key is written once, and a [table] has one heading; only stages are repeated, as [[stage]]"
    } else {
        "the file is TOML: key = \"text\", with [tables] and [[stage]] at the beginnings of lines"
    };
    Problem::new(error.span().unwrap_or_default(), error.message().trim_end(), rule)
}

/// What was read so far.
#[derive(Debug, Default)]
struct Draft {
    pipeline: Option<String>,
    table: Option<TableName>,
    key: Option<Vec<String>>,
    key_type: Option<KeyType>,
    database: Option<String>,
    succeeded: Option<Sign>,
    failed: Option<Sign>,
    cancelled: Option<Sign>,
    ignored: Vec<Word>,
    claim_where: Option<String>,
    order: Vec<String>,
    existing: Option<Existing>,
    existing_leases_are_stale: bool,
    without_ready_default: bool,
    keep_error_after_success: bool,
    stages: Vec<StageDescription>,
    columns: Columns,
    on: Vec<Assignment>,
    limits: Limits,
    said: Vec<SaidWord>,
}

impl Draft {
    fn read(&mut self, reader: &mut Reader, entry: &Entry<'_>) {
        match entry.key {
            "pipeline" => self.pipeline = reader.text(entry, "it names the pipeline, as in \"videos\""),
            "table" => self.table = reader.table_name(entry),
            "key" => self.key = reader.texts(entry, "it is the key's column, \"id\", or the list of its columns"),
            "key_type" => self.key_type = reader.one_of(entry, KEY_TYPES),
            "database" => self.database = reader.database(entry),
            "succeeded" => self.succeeded = reader.state(entry, "`succeeded`", &mut self.said),
            "failed" => self.failed = reader.state(entry, "`failed`", &mut self.said),
            "cancelled" => self.cancelled = reader.state(entry, "`cancelled`", &mut self.said),
            "ignored" => self.ignored = reader.ignored(entry, &mut self.said),
            "where" => {
                let rule = "it is a condition over the table's columns: \"deleted_at is null\"";
                self.claim_where = reader.text(entry, rule);
            }
            "order" => {
                let rule = "it is a list of columns, each with desc if wanted: [\"priority desc\"]";
                self.order = reader.texts(entry, rule).unwrap_or_default();
            }
            "existing" => self.existing = reader.one_of(entry, EXISTING),
            "existing_leases" => {
                let leases = [("held", false), ("stale", true)];
                self.existing_leases_are_stale = reader.one_of(entry, &leases).unwrap_or_default();
            }
            "without_ready_default" => self.without_ready_default = reader.boolean(entry).unwrap_or_default(),
            "keep_error_after_success" => self.keep_error_after_success = reader.boolean(entry).unwrap_or_default(),
            "stage" => self.stages = reader.stages(entry, &mut self.said),
            "columns" => self.columns = reader.columns(entry),
            "on" => self.on = reader.on(entry),
            _ => self.limits = reader.limits(entry),
        }
    }

    /// The description, if nothing is wrong or missing.
    fn finish(self, mut reader: Reader, source: Source) -> Result<Description, Problems> {
        for (key, rule) in REQUIRED {
            if !reader.places.contains_key(*key) {
                // Where it would be: at the top of the file.
                reader.refuse(Span::default(), format!("the file has no `{key}`"), *rule);
            }
        }
        let status_type = reader.check_words(&self.said, self.columns.status_type);
        let Reader { problems, places } = reader;
        match (self.pipeline, self.table, self.key, self.succeeded) {
            (Some(pipeline), Some(table), Some(key), Some(succeeded)) if problems.is_empty() => Ok(Description {
                pipeline,
                table,
                key,
                key_type: self.key_type,
                database: self.database,
                succeeded,
                failed: self.failed,
                cancelled: self.cancelled,
                ignored: self.ignored,
                claim_where: self.claim_where,
                order: self.order,
                existing: self.existing,
                existing_leases_are_stale: self.existing_leases_are_stale,
                without_ready_default: self.without_ready_default,
                keep_error_after_success: self.keep_error_after_success,
                stages: self.stages,
                columns: self.columns.columns,
                status_type,
                prefix: self.columns.prefix,
                on: self.on,
                limits: self.limits,
                source,
                places,
            }),
            _ => Err(Problems::new(source, problems)),
        }
    }
}

const KEY_TYPES: &[(&str, KeyType)] =
    &[("text", KeyType::Text), ("uuid", KeyType::Uuid), ("int", KeyType::Int), ("bigint", KeyType::BigInt)];

const EXISTING: &[(&str, Existing)] =
    &[("ready", Existing::Ready), ("succeeded", Existing::Succeeded), ("cancelled", Existing::Cancelled)];

/// The keys that every file has.
const REQUIRED: &[(&str, &str)] = &[
    ("pipeline", "it names the pipeline: pipeline = \"videos\""),
    ("table", "it names the table whose rows are the work: table = \"videos\""),
    ("key", "it names the column that tells one row from the others: key = \"id\""),
    ("succeeded", "it says how the table shows that a row is done: succeeded = \"completed\""),
    ("stage", STAGE_RULE),
];

impl Reader {
    fn table_name(&mut self, entry: &Entry<'_>) -> Option<TableName> {
        let text = self.text(entry, values::TABLE_RULE)?;
        let name = values::table_name(&text);
        name.map_err(|problem| self.refuse_value(entry, &format!("is {text:?}: {problem}"), values::TABLE_RULE)).ok()
    }

    /// A URL without a password: files are copied, committed and shown to others.
    fn database(&mut self, entry: &Entry<'_>) -> Option<String> {
        const RULE: &str = "it is postgres://USER@HOST/DATABASE or sqlite://FILE; a password belongs into ~/.pgpass, \
                            into the variable PGPASSWORD, or into DATABASE_URL in place of this key";
        let url = self.text(entry, RULE)?;
        if has_password(&url) {
            self.refuse_value(entry, "has a password", RULE);
            return None;
        }
        let is_known = ["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme));
        if !is_known {
            self.refuse_value(entry, "is no URL of a database", RULE);
            return None;
        }
        Some(url)
    }

    fn ignored(&mut self, entry: &Entry<'_>, said: &mut Vec<SaidWord>) -> Vec<Word> {
        let by = "`ignored`";
        if let Some(list) = entry.item.as_array() {
            return self.words(entry, list, by, said).unwrap_or_default();
        }
        match self.state(entry, by, said) {
            Some(Sign::Words(words)) => words,
            Some(Sign::Sql { .. } | Sign::Own) => {
                let rule = "it is a word or a list of words; what SQL would leave out, `where` does";
                self.refuse_value(entry, "has no words", rule);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The stages, written as `[[stage]]` or as a list of tables.
    fn stages<'t>(&mut self, entry: &Entry<'t>, said: &mut Vec<SaidWord>) -> Vec<StageDescription> {
        let tables: Vec<(&'t dyn TableLike, Option<Span>)> = match entry.item {
            Item::ArrayOfTables(tables) => {
                tables.iter().map(|table| (table as &dyn TableLike, table.span())).collect::<Vec<_>>()
            }
            Item::Value(Value::Array(list)) if list.iter().all(Value::is_inline_table) && !list.is_empty() => {
                let table = |value: &'t Value| Some((value.as_inline_table()? as &dyn TableLike, value.span()));
                list.iter().filter_map(table).collect()
            }
            Item::Table(_) => {
                self.refuse_value(entry, "is one table", "stages are a list, even if there is one: write [[stage]]");
                return Vec::new();
            }
            other => {
                self.refuse_value(entry, &format!("is {}", a_kind(other.type_name())), STAGE_RULE);
                return Vec::new();
            }
        };
        let mut stages: Vec<StageDescription> = Vec::new();
        for (index, (table, at)) in tables.into_iter().enumerate() {
            let path = format!("stage[{index}]");
            let at = at.unwrap_or_else(|| entry.at.clone());
            self.places.insert(path.clone(), at.clone());
            let Some(stage) = self.stage(table, &path, at, said) else { continue };
            if stages.iter().any(|earlier| earlier.name == stage.name) {
                let name_at = self.places.get(&format!("{path}.name")).cloned().unwrap_or_default();
                let what = format!("two stages have the name {:?}", stage.name);
                self.refuse(name_at, what, "each stage has a name of its own");
            }
            stages.push(stage);
        }
        stages
    }

    fn stage(
        &mut self,
        table: &dyn TableLike,
        path: &str,
        at: Span,
        said: &mut Vec<SaidWord>,
    ) -> Option<StageDescription> {
        let entries = self.entries(table, path, STAGE);
        let part = |key: &str| entries.iter().find(|entry| entry.key == key);
        let name = part("name").and_then(|entry| self.text(entry, "it names the stage, as in \"thumbnail\""));
        let shown = name.clone().unwrap_or_else(|| "without a name".to_owned());
        for (key, rule) in [
            ("name", "a stage has a name: name = \"thumbnail\""),
            ("ready", "it says how the table shows that a row waits for this stage: ready = \"queued\""),
            (
                "running",
                "it says how the table shows that a row is in progress: running = \"processing\", or { own = true } if \
                 it cannot",
            ),
        ] {
            if part(key).is_none() {
                self.refuse(at.clone(), format!("stage {shown} has no `{key}`"), rule);
            }
        }
        let mut state =
            |key: &str| part(key).and_then(|entry| self.state(entry, &format!("`{key}` of stage {shown}"), said));
        let (ready, running) = (state("ready"), state("running"));
        let timeout = part("timeout").and_then(|entry| self.timeout(entry));
        let retry = part("retry").and_then(|entry| self.retry(entry));
        Some(StageDescription { name: name?, ready: ready?, running: running?, timeout, retry })
    }

    fn timeout(&mut self, entry: &Entry<'_>) -> Option<Timeout> {
        if entry.item.as_str() == Some("none") {
            return Some(Timeout::Never);
        }
        let timeout = self.duration(entry)?;
        if timeout.is_zero() {
            let rule = "it is longer than zero; \"none\" lets a handler run for as long as its worker lives";
            self.refuse_value(entry, "is zero", rule);
            return None;
        }
        Some(Timeout::After(timeout))
    }

    /// What is written at the events. A column that one event would write twice is refused.
    fn on(&mut self, entry: &Entry<'_>) -> Vec<Assignment> {
        let mut assignments: Vec<Assignment> = Vec::new();
        let rule = "write it as a table: [on], and below it claim = { started_at = \"now()\" }";
        let Some(table) = self.table(entry, rule) else { return assignments };
        for entry in self.entries(table, &entry.path, ON) {
            let Some((_, event)) = EVENTS.iter().find(|(name, _)| *name == entry.key) else { continue };
            for (column, value) in self.assignments(&entry).unwrap_or_default() {
                let is_same = |other: &Assignment| {
                    let every = other.event == Event::EveryMove || *event == Event::EveryMove;
                    other.column == column && every && other.event != *event
                };
                if assignments.iter().any(is_same) {
                    let at = self.places.get(&format!("{}.{column}", entry.path)).cloned().unwrap_or_default();
                    let what = format!("`every_move` and another event both write {column:?}");
                    self.refuse(at, what, "a statement writes a column once: leave it out of one of the two");
                }
                assignments.push(Assignment { event: *event, column, value });
            }
        }
        assignments
    }
}
