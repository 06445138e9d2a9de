//! What a live table is: its columns with the commonest values, its keys, constraints, triggers, policies and indexes.
//!
//! A survey only reads, and its cost does not grow with the table: the catalogue, the planner's statistics, and at most
//! [`SAMPLE_ROWS_MAX`] rows. Whatever it says of values therefore names the sample that it stands on.

mod create_statement;
pub mod postgres;
mod sampling;
pub mod sqlite;

use rowlock::TableName;

/// Rows that a survey reads of a table, at most. Ten thousand show each word that one row in a thousand has, with a
/// chance of 99.995 %.
pub const SAMPLE_ROWS_MAX: i64 = 10_000;

/// Different values of a column that a histogram lists: more are not states.
pub const VALUES_MAX: i64 = 24;

/// Characters of a value that a histogram shows.
pub const VALUE_CHARS_MAX: i64 = 64;

/// Columns whose values are read, at most: SQLite allows 500 parts of a compound query.
pub const SAMPLED_COLUMNS_MAX: usize = 400;

/// Tables that are listed as candidates, at most.
pub const CANDIDATES_MAX: i64 = 200;

/// The database that holds the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// PostgreSQL, 14 or later.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// A table, as it is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The kind of database.
    pub database: Database,
    /// The server's version, or that of the SQLite library.
    pub server_version: String,
    /// The table, as it was asked for.
    pub table: TableName,
    /// Whether it is the parent of partitions.
    pub is_partitioned: bool,
    /// The columns by which it, or a partition of it, is partitioned.
    pub partition_columns: Vec<String>,
    /// The number of rows; -1 if nothing tells it.
    pub rows_estimate: i64,
    /// Whether the rows were counted.
    pub rows_are_exact: bool,
    /// The columns in the table's order.
    pub columns: Vec<SurveyColumn>,
    /// The columns of the primary key; none if the table has no primary key.
    pub primary_key: Vec<String>,
    /// The columns of each other unique key that holds for every row.
    pub unique_keys: Vec<Vec<String>>,
    /// The CHECK constraints, those of the columns' domains among them.
    pub checks: Vec<CheckConstraint>,
    /// The foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// The enabled triggers.
    pub triggers: Vec<TriggerInfo>,
    /// Row security; all false on SQLite.
    pub row_security: RowSecurity,
    /// The indexes, those of the keys among them.
    pub indexes: Vec<IndexInfo>,
    /// Storage options, as `fillfactor=80`.
    pub options: Vec<String>,
    /// What PostgreSQL counts about the table; for a partitioned table the sum of its partitions.
    pub statistics: Option<Statistics>,
    /// Whether a publication publishes its updates.
    pub is_published: bool,
    /// `default`, `full`, `nothing` or `index`; empty on SQLite.
    pub replica_identity: String,
}

/// A column, as it is found.
#[derive(Debug, Clone, PartialEq)]
pub struct SurveyColumn {
    /// Its name.
    pub name: String,
    /// The type as the database writes it (the name of the domain, if it is one); on SQLite as it was declared.
    pub type_name: String,
    /// What kind of type it is; for a domain, that of the type beneath.
    pub kind: TypeKind,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// The default, as SQL.
    pub default: Option<String>,
    /// Whether an expression says its value.
    pub is_generated: bool,
    /// Whether the database numbers it.
    pub is_identity: bool,
    /// The labels of an enum in their order; of an array of them as well.
    pub enum_labels: Vec<String>,
    /// The comment on the column.
    pub comment: Option<String>,
    /// The commonest values; `None` if they were not, or could not be, read.
    pub values: Option<Histogram>,
}

/// The kinds of types that a queue's columns have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    /// Text of any length.
    Text,
    /// Text of limited length.
    Varchar(Option<i32>),
    /// Text that is filled with blanks.
    Char(i32),
    /// A native enum.
    Enum,
    /// `boolean`; on SQLite a column that is declared so.
    Boolean,
    /// 16 bits.
    SmallInt,
    /// 32 bits; on SQLite any integer that is not declared as small or big.
    Integer,
    /// 64 bits.
    BigInt,
    /// `uuid`.
    Uuid,
    /// A time with its zone.
    Timestamptz,
    /// A time without a zone; on SQLite a column that is declared as `datetime` or `timestamp`.
    Timestamp,
    /// A day.
    Date,
    /// JSON as text.
    Json,
    /// JSON, parsed.
    Jsonb,
    /// Bytes.
    Bytea,
    /// A floating-point number.
    Float,
    /// A decimal number.
    Numeric,
    /// Anything else: arrays, ranges, vectors, types of extensions.
    Other,
}

impl TypeKind {
    /// Whether it holds words.
    pub fn is_text(self) -> bool {
        matches!(self, TypeKind::Text | TypeKind::Varchar(_) | TypeKind::Char(_))
    }

    /// Whether it holds whole numbers.
    pub fn is_integer(self) -> bool {
        matches!(self, TypeKind::SmallInt | TypeKind::Integer | TypeKind::BigInt)
    }

    /// Whether it holds times.
    pub fn is_timestamp(self) -> bool {
        matches!(self, TypeKind::Timestamptz | TypeKind::Timestamp)
    }
}

/// The commonest values of a column in a bounded sample.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// The rows on which it stands.
    pub sampled: i64,
    /// Whether these are all rows of the table.
    pub is_whole: bool,
    /// The values with their rows in the sample, commonest first; `None` is NULL. A value with no rows is known from an
    /// index or from the planner's statistics: it exists, but not in the sample.
    pub values: Vec<(Option<String>, i64)>,
    /// Whether there are more values than these.
    pub has_more: bool,
}

impl Histogram {
    /// The rows of the sample that are NULL.
    pub fn nulls(&self) -> i64 {
        self.values.iter().find(|(value, _)| value.is_none()).map_or(0, |(_, rows)| *rows)
    }

    /// The rows of the sample with this value; `None` if it was not seen.
    pub fn rows_with(&self, value: &str) -> Option<i64> {
        self.values.iter().find(|(found, _)| found.as_deref() == Some(value)).map(|(_, rows)| *rows)
    }

    /// The values that are not NULL.
    pub fn texts(&self) -> impl Iterator<Item = (&str, i64)> {
        self.values.iter().filter_map(|(value, rows)| value.as_deref().map(|value| (value, *rows)))
    }
}

/// A CHECK constraint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckConstraint {
    /// Its name; on SQLite its expression, if it has no name.
    pub name: String,
    /// As the database shows it: `CHECK (…)`.
    pub definition: String,
    /// The columns that it reads.
    pub columns: Vec<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForeignKey {
    /// Its name; on SQLite its number.
    pub name: String,
    /// The columns of this table.
    pub columns: Vec<String>,
    /// The table that it references.
    pub parent: String,
    /// The columns of that table; none if it references the primary key without naming it (SQLite).
    pub parent_columns: Vec<String>,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TriggerInfo {
    /// Its name.
    pub name: String,
    /// When it runs: `before update`, `after insert or update`.
    pub when: String,
    /// The source of its function, or its whole statement on SQLite; `None` if it may not be read.
    pub source: Option<String>,
}

/// Row security.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowSecurity {
    /// Whether the table has it.
    pub enabled: bool,
    /// Whether it holds for the table's owner as well.
    pub forced: bool,
    /// Whether it hides rows from this role.
    pub applies_to_me: bool,
    /// The policies, each in a line.
    pub policies: Vec<String>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexInfo {
    /// Its name.
    pub name: String,
    /// The columns or expressions by which it is ordered.
    pub columns: Vec<String>,
    /// The predicate of a partial index.
    pub predicate: Option<String>,
    /// Whether it keeps rows unique.
    pub unique: bool,
    /// Whether it is complete: one whose concurrent build broke off is not.
    pub valid: bool,
    /// The statement that makes it; empty for the index that SQLite makes for a constraint.
    pub definition: String,
}

/// What `pg_stat_all_tables` counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Live rows, by estimate.
    pub n_live_tup: i64,
    /// Dead rows, by estimate.
    pub n_dead_tup: i64,
    /// Rows inserted since the counters began.
    pub n_tup_ins: i64,
    /// Rows updated.
    pub n_tup_upd: i64,
    /// Rows updated without an entry in an index.
    pub n_tup_hot_upd: i64,
    /// When it was last vacuumed, by hand or not.
    pub last_vacuum: Option<String>,
    /// When it was last analysed, by hand or not.
    pub last_analyze: Option<String>,
}

/// A table that may be a queue: it has a column that looks like a state.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The table.
    pub table: TableName,
    /// Its rows, by estimate; -1 if nothing tells it.
    pub rows_estimate: i64,
    /// The columns that look like a state.
    pub columns: Vec<String>,
}

impl Survey {
    /// A survey that says nothing of its table.
    pub fn empty(database: Database, table: TableName) -> Survey {
        Survey {
            database,
            server_version: String::new(),
            table,
            is_partitioned: false,
            partition_columns: Vec::new(),
            rows_estimate: -1,
            rows_are_exact: false,
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            triggers: Vec::new(),
            row_security: RowSecurity::default(),
            indexes: Vec::new(),
            options: Vec::new(),
            statistics: None,
            is_published: false,
            replica_identity: String::new(),
        }
    }

    /// The column of this name. SQLite does not tell names apart by case.
    pub fn column(&self, name: &str) -> Option<&SurveyColumn> {
        self.columns.iter().find(|column| match self.database {
            Database::Postgres => column.name == name,
            Database::Sqlite => column.name.eq_ignore_ascii_case(name),
        })
    }
}

impl SurveyColumn {
    /// A column of which only name and type are known.
    pub fn new(name: impl Into<String>, type_name: impl Into<String>, kind: TypeKind) -> SurveyColumn {
        SurveyColumn {
            name: name.into(),
            type_name: type_name.into(),
            kind,
            is_nullable: true,
            default: None,
            is_generated: false,
            is_identity: false,
            enum_labels: Vec::new(),
            comment: None,
            values: None,
        }
    }

    /// The text or number that the default is, if it is a literal.
    pub fn default_literal(&self) -> Option<String> {
        let default = self.default.as_deref()?.trim();
        let Some(rest) = default.strip_prefix('\'') else {
            let bare = default.trim_start_matches('(').split(')').next()?.trim();
            let is_number = bare.strip_prefix('-').unwrap_or(bare).chars().all(|c| c.is_ascii_digit());
            let is_literal = is_number || matches!(bare.to_ascii_lowercase().as_str(), "true" | "false");
            return (is_literal && !bare.is_empty()).then(|| bare.to_owned());
        };
        let mut word = String::new();
        let mut characters = rest.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '\'' && characters.next_if_eq(&'\'').is_none() {
                let cast: String = characters.collect();
                return (cast.is_empty() || cast.starts_with("::")).then_some(word);
            }
            word.push(character);
        }
        None
    }
}

/// A name, quoted so that it can mean nothing but itself. Both databases quote names alike.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table's name, quoted and with its schema if it was named with one.
pub fn quote_table(table: &TableName) -> String {
    match table.schema() {
        Some(schema) => format!("{}.{}", quote_identifier(schema), quote_identifier(table.name())),
        None => quote_identifier(table.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_of(default: &str) -> Option<String> {
        SurveyColumn { default: Some(default.to_owned()), ..SurveyColumn::new("c", "text", TypeKind::Text) }
            .default_literal()
    }

    #[test]
    fn a_default_is_known_if_it_is_a_literal() {
        assert_eq!(default_of("'pending'::text").as_deref(), Some("pending"));
        assert_eq!(default_of("'it''s'").as_deref(), Some("it's"));
        assert_eq!(default_of("'-1'::integer").as_deref(), Some("-1"));
        assert_eq!(default_of("(0)").as_deref(), Some("0"));
        assert_eq!(default_of("'queued'::\"Status\"").as_deref(), Some("queued"));
        assert_eq!(default_of("now()"), None);
        assert_eq!(default_of("'a' || 'b'"), None);
    }

    #[test]
    fn a_name_cannot_end_its_own_quotes() {
        assert_eq!(quote_table(&TableName::in_schema("a\"b", "c.d")), "\"a\"\"b\".\"c.d\"");
    }
}
