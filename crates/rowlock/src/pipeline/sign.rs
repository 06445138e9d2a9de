//! How a table says the state of a row: how each state is read, and how it is written.

/// A value of the status column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Word {
    /// No value.
    Null,
    /// A text, or the label of an enum.
    Text(String),
    /// A number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
}

impl Word {
    /// The text; `None` for null, and for what is no text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Word::Text(text) => Some(text),
            Word::Null | Word::Integer(_) | Word::Boolean(_) => None,
        }
    }

    /// The word as it is shown.
    pub(crate) fn shown(&self) -> String {
        match self {
            Word::Null => "NULL".to_owned(),
            Word::Text(text) => text.clone(),
            Word::Integer(number) => number.to_string(),
            Word::Boolean(truth) => truth.to_string(),
        }
    }
}

/// How a table says a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// Values of the status column. All are read; the first is written.
    Words(Vec<Word>),
    /// SQL over the table's own columns, for a state that no single column says.
    Sql {
        /// A condition, which must be immutable, so that it can be indexed: `delivered_at is null and not failed`.
        is: String,
        /// What makes the condition true: columns, and the SQL of their values.
        set: Vec<(String, String)>,
    },
    /// The table cannot say it: a column that Rowlock adds does.
    Own,
}

impl Sign {
    /// A state that SQL reads and assignments write.
    ///
    /// ```
    /// use rowlock::Sign;
    ///
    /// let delivered = Sign::sql("delivered_at is not null", [("delivered_at", "now()")]);
    /// ```
    pub fn sql<C: Into<String>, V: Into<String>>(is: impl Into<String>, set: impl IntoIterator<Item = (C, V)>) -> Sign {
        let set = set.into_iter().map(|(column, value)| (column.into(), value.into())).collect();
        Sign::Sql { is: is.into(), set }
    }

    /// The name under which the library shows the state, if the sign has one.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Sign::Words(words) => words.first().map(Word::shown),
            Sign::Sql { .. } | Sign::Own => None,
        }
    }

    /// Whether it is one text of the status column, as in a table that the library makes.
    pub(crate) fn is_one_text(&self) -> bool {
        matches!(self, Sign::Words(words) if matches!(words.as_slice(), [Word::Text(_)]))
    }

    /// The values of the status column that say it.
    pub(crate) fn words(&self) -> &[Word] {
        match self {
            Sign::Words(words) => words,
            Sign::Sql { .. } | Sign::Own => &[],
        }
    }
}

/// Values that become words.
macro_rules! words_from {
    ($($from:ty => $word:expr;)*) => {
        $(
            impl From<$from> for Word {
                fn from(value: $from) -> Word {
                    $word(value.into())
                }
            }

            impl From<$from> for Sign {
                fn from(value: $from) -> Sign {
                    Sign::Words(vec![value.into()])
                }
            }
        )*
    };
}

words_from! {
    &str => Word::Text;
    String => Word::Text;
    i64 => Word::Integer;
    i32 => Word::Integer;
    bool => Word::Boolean;
}

impl From<Word> for Sign {
    fn from(word: Word) -> Sign {
        Sign::Words(vec![word])
    }
}

impl<W: Into<Word>> From<Vec<W>> for Sign {
    fn from(words: Vec<W>) -> Sign {
        Sign::Words(words.into_iter().map(Into::into).collect())
    }
}

impl<W: Into<Word>, const N: usize> From<[W; N]> for Sign {
    fn from(words: [W; N]) -> Sign {
        words.into_iter().collect::<Vec<W>>().into()
    }
}

/// The type of the status column, which decides how its words are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StatusType {
    /// `text` or `varchar`.
    #[default]
    Text,
    /// A native enum.
    Enum,
    /// `char(n)`: the blanks at its end do not count.
    Char,
    /// `smallint`, `integer` or `bigint`.
    Integer,
    /// `boolean`; on SQLite an integer.
    Boolean,
}

/// An event at which a pipeline writes further columns, in the statement of the move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A worker claims the item.
    Claim,
    /// The holder completes a stage.
    Success,
    /// The item becomes `FAILED`.
    Failure,
    /// The item goes back to ready, from a worker that failed, stopped, snoozed or released it.
    Retry,
    /// Any move.
    EveryMove,
}

/// Columns that a pipeline writes at an event: the column, and the SQL of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) event: Event,
    pub(crate) column: String,
    pub(crate) value: String,
}

/// How a column holds the value of its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Form {
    /// As the library's own columns do: `timestamptz`, text, integers; on SQLite times in ISO 8601, in UTC.
    #[default]
    Native,
    /// `timestamp` without a time zone, in UTC.
    TimestampUtc,
    /// Seconds since 1970, in an integer column.
    EpochSeconds,
    /// Milliseconds since 1970, in an integer column.
    EpochMillis,
    /// `YYYY-MM-DD HH:MM:SS` in UTC, as SQLite's `datetime()` writes it.
    SqliteDatetime,
    /// A JSON string, in a `jsonb` column.
    Json,
    /// The time at which a lease expires: `stale_after` after the heartbeat.
    Expiry,
}

/// A column for a role, and how it holds the role's value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// How it holds the value.
    pub form: Form,
    /// The value that stands for none, in SQL: `0` or `''`. Without it, NULL does.
    pub none: Option<String>,
    /// Whether a value is never replaced by none: an existing schedule keeps its first time.
    pub keep: bool,
}

impl ColumnSpec {
    /// A column that holds its role's value as one of the library's own would.
    pub fn new(name: impl Into<String>) -> ColumnSpec {
        ColumnSpec { name: name.into(), ..ColumnSpec::default() }
    }

    /// How it holds the value.
    pub fn form(mut self, form: Form) -> ColumnSpec {
        self.form = form;
        self
    }

    /// The value that stands for none, in SQL: `0` or `''`.
    pub fn none(mut self, value: impl Into<String>) -> ColumnSpec {
        self.none = Some(value.into());
        self
    }

    /// Never replaces a value by none.
    pub fn keep(mut self) -> ColumnSpec {
        self.keep = true;
        self
    }

    /// Whether the role's value is the column's.
    pub(crate) fn is_plain(&self) -> bool {
        self.form == Form::Native && self.none.is_none() && !self.keep
    }
}
