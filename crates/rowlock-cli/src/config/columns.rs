//! The columns that play a role, and how each holds the role's value.

use rowlock::Role;
use rowlock::pipeline::{StatusType, Word};
use toml_edit::Value;

use super::keys::{COLUMN, COLUMNS};
use super::reader::{Entry, Reader, a_kind};
use super::{ColumnDescription, ColumnForm};

/// What `[columns]` says.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) columns: Vec<ColumnDescription>,
    pub(super) status_type: Option<StatusType>,
    pub(super) prefix: Option<String>,
}

const COLUMN_RULE: &str = "a column is its name, \"run_at\", or a table of which only the name is needed: { name = \
                           \"run_at\", as = \"epoch_s\", none = 0, keep = true }";

const STATUS_TYPES: &[(&str, StatusType)] = &[
    ("text", StatusType::Text),
    ("enum", StatusType::Enum),
    ("integer", StatusType::Integer),
    ("boolean", StatusType::Boolean),
    ("char", StatusType::Char),
    ("varchar", StatusType::Text),
];

const TIME_FORMS: &[(&str, ColumnForm)] = &[
    ("timestamptz", ColumnForm::Native),
    ("timestamp_utc", ColumnForm::TimestampUtc),
    ("epoch_s", ColumnForm::EpochSeconds),
    ("epoch_ms", ColumnForm::EpochMillis),
    ("iso_text", ColumnForm::IsoText),
    ("sqlite_datetime", ColumnForm::SqliteDatetime),
];

/// A heartbeat may also be stored as the time at which its lease expires.
const EXPIRY: (&str, ColumnForm) = ("expiry", ColumnForm::Expiry);

const TEXT_FORMS: &[(&str, ColumnForm)] = &[("text", ColumnForm::Native), ("json", ColumnForm::Json)];

impl Reader {
    pub(super) fn columns(&mut self, entry: &Entry<'_>) -> Columns {
        let mut read = Columns::default();
        let Some(table) = self.table(entry, "write it as a table: [columns], and below it retry_count = \"attempts\"")
        else {
            return read;
        };
        for entry in self.entries(table, &entry.path, COLUMNS) {
            if entry.key == "prefix" {
                read.prefix = self.text(&entry, "it begins the names of added columns, as in \"rowlock_\"");
                continue;
            }
            if let Some(role) = Role::ALL.into_iter().find(|role| role.default_column() == entry.key) {
                let column = self.column(&entry, role, &mut read.status_type);
                read.columns.extend(column);
            }
        }
        read
    }

    fn column(
        &mut self,
        entry: &Entry<'_>,
        role: Role,
        status_type: &mut Option<StatusType>,
    ) -> Option<ColumnDescription> {
        let mut column = ColumnDescription {
            role,
            name: role.default_column().to_owned(),
            form: ColumnForm::Native,
            none: None,
            keep: false,
        };
        let Some(table) = entry.item.as_table_like() else {
            column.name = self.text(entry, COLUMN_RULE)?;
            return Some(column);
        };
        if table.is_empty() {
            self.refuse_value(entry, "says nothing", COLUMN_RULE);
        }
        for part in self.entries(table, &entry.path, COLUMN) {
            match part.key {
                "name" => column.name = self.text(&part, COLUMN_RULE)?,
                "as" if role == Role::Status => *status_type = self.one_of(&part, STATUS_TYPES),
                "as" => column.form = self.form(&part, role).unwrap_or_default(),
                "none" if has_none(role) => column.none = self.none(&part),
                "keep" if has_none(role) => column.keep = self.boolean(&part).unwrap_or_default(),
                key => {
                    let what = format!("the column for {} has `{key}`", role.default_column());
                    self.refuse(part.at, what, "this role always has a value, so there is no value for none");
                }
            }
        }
        Some(column)
    }

    fn form(&mut self, entry: &Entry<'_>, role: Role) -> Option<ColumnForm> {
        let forms = match role {
            Role::RetryAfter | Role::ClaimedAt | Role::CreatedAt | Role::UpdatedAt => TIME_FORMS.to_vec(),
            Role::Heartbeat => TIME_FORMS.iter().copied().chain([EXPIRY]).collect(),
            Role::ErrorMessage => TEXT_FORMS.to_vec(),
            _ => {
                let what = format!("the column for {} has `as`", role.default_column());
                self.refuse(entry.at.clone(), what, "this role has one form only: leave `as` out");
                return None;
            }
        };
        self.one_of(entry, &forms)
    }

    fn none(&mut self, entry: &Entry<'_>) -> Option<Word> {
        match entry.item.as_value() {
            Some(Value::String(text)) => Some(Word::Text(text.value().clone())),
            Some(Value::Integer(number)) => Some(Word::Integer(*number.value())),
            _ => {
                let what = format!("is {}", a_kind(entry.item.type_name()));
                self.refuse_value(entry, &what, "it is the value that stands for none: 0, \"\"; without it NULL does");
                None
            }
        }
    }
}

/// Whether an item may have no value for the role.
fn has_none(role: Role) -> bool {
    !matches!(role, Role::Status | Role::RetryCount | Role::ResetCount | Role::CreatedAt | Role::UpdatedAt)
}
