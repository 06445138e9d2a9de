//! expected.toml: what a table's folder says must happen.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use toml_edit::{Document, Item, TableLike};

/// What must happen to one table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) database: Dialect,
    /// The table's name as SQL has it.
    pub(crate) table: String,
    /// The columns by which a row is found again.
    pub(crate) key: Vec<String>,
    /// What is done with the table, one after the other.
    pub(crate) run: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    Postgres,
    Sqlite,
}

/// `check`, `attach --apply` and `drain` with one description.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) file: String,
    pub(crate) outcome: Outcome,
    /// Words that the reason of a refusal contains.
    #[serde(default)]
    pub(crate) reason: Vec<String>,
    #[serde(default)]
    pub(crate) finding: Vec<Planted>,
    /// Every row of the table is in one of these groups.
    #[serde(default)]
    pub(crate) rows: Vec<Group>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Attached,
    Refused,
}

/// A mistake that `check` must find.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planted {
    /// The idea of the rule, as findings.rs lists them.
    pub(crate) rule: String,
    /// How many rows show it.
    pub(crate) rows: Option<i64>,
    /// Who must see it, if not the owner of the table.
    pub(crate) as_role: Option<String>,
    /// Whether `check` finds it while there is no description yet.
    #[serde(default)]
    pub(crate) without_file: bool,
}

/// Rows that must all end alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) what: String,
    /// SQL that tells them from the others, before anything is done.
    #[serde(rename = "where")]
    pub(crate) predicate: String,
    pub(crate) count: usize,
    pub(crate) before: Condition,
    pub(crate) after: Condition,
    /// Columns and their values afterwards.
    #[serde(default)]
    pub(crate) set: BTreeMap<String, Value>,
    /// Columns and their values afterwards, in SQL over the row before.
    #[serde(default)]
    pub(crate) sql: BTreeMap<String, String>,
    /// Columns that are null afterwards.
    #[serde(default)]
    pub(crate) null: Vec<String>,
    /// Columns that have a time of the drain afterwards.
    #[serde(default)]
    pub(crate) now: Vec<String>,
    /// Columns that have some other value afterwards, which cannot be foretold.
    #[serde(default)]
    pub(crate) some: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Condition {
    Ready,
    /// Ready by its state, but `where` leaves it out, and nothing waits for it.
    LeftOut,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Ignored,
    Unknown,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Condition::Ready => "ready",
            Condition::LeftOut => "left out",
            Condition::Running => "running",
            Condition::Succeeded => "succeeded",
            Condition::Failed => "failed",
            Condition::Cancelled => "cancelled",
            Condition::Ignored => "ignored",
            Condition::Unknown => "unknown",
        })
    }
}

impl Expected {
    pub(crate) fn read(folder: &Path) -> Result<Expected> {
        let path = folder.join("expected.toml");
        serde_json::from_value(read_toml(&path)?).with_context(|| format!("{} says something else", path.display()))
    }
}

/// A TOML file as the value that JSON would have.
pub(crate) fn read_toml(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let document = text.parse::<Document<String>>().with_context(|| format!("{} is no TOML", path.display()))?;
    Ok(table_value(document.as_table()))
}

fn table_value(table: &dyn TableLike) -> Value {
    Value::Object(table.iter().map(|(key, item)| (key.to_owned(), item_value(item))).collect())
}

fn item_value(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => plain_value(value),
        Item::Table(table) => table_value(table),
        Item::ArrayOfTables(tables) => Value::Array(tables.iter().map(|table| table_value(table)).collect()),
    }
}

fn plain_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(truth) => Value::from(*truth.value()),
        toml_edit::Value::Datetime(time) => Value::from(time.value().to_string()),
        toml_edit::Value::Array(values) => Value::Array(values.iter().map(plain_value).collect()),
        toml_edit::Value::InlineTable(table) => table_value(table),
    }
}
