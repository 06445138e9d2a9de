//! The user's table: its name and its key.

use std::fmt;

/// The name of a table, with or without its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    schema: Option<String>,
    name: String,
}

impl TableName {
    /// A table that the connection's search path finds.
    pub fn new(name: impl Into<String>) -> TableName {
        TableName { schema: None, name: name.into() }
    }

    /// A table in a named schema (PostgreSQL). Rowlock's own tables go into the same schema.
    pub fn in_schema(schema: impl Into<String>, name: impl Into<String>) -> TableName {
        TableName { schema: Some(schema.into()), name: name.into() }
    }

    /// The schema, if one was named.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The table's own name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<&str> for TableName {
    /// The whole text is the table's name: a dot does not split it.
    fn from(name: &str) -> TableName {
        TableName::new(name)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The type of the key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KeyType {
    /// `text` or `varchar`.
    #[default]
    Text,
    /// `uuid`; on SQLite, text.
    Uuid,
    /// A 32-bit `int`.
    Int,
    /// A 64-bit `bigint`; on SQLite, any `integer`.
    BigInt,
}
