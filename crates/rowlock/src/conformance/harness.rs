//! What the suite needs of a database set-up.

use std::future::Future;

use chrono::{DateTime, Utc};

use crate::pipeline::Pipeline;
use crate::store::Store;

/// A database of one test's own, empty at first: the way to a store on it, and raw SQL for what no verb would write.
///
/// The suite's own SQL is the same for every dialect; what must differ is behind these methods.
pub trait Harness: Send + Sync + 'static {
    /// The store that is tested.
    type Store: Store;

    /// A store for this pipeline on this harness's database. Nothing is prepared; a second call gives a second store
    /// on the same database.
    fn open(&self, pipeline: Pipeline) -> impl Future<Output = Self::Store> + Send;

    /// Makes what it takes for a column of text whose comparison ignores case, and gives its SQL type.
    fn text_ignoring_case(&self) -> impl Future<Output = Result<String, sqlx::Error>> + Send;

    /// Runs statements past the store.
    fn execute(&self, sql: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Runs a query past the store. Every column of it is text.
    fn rows(&self, sql: &str) -> impl Future<Output = Result<Vec<Vec<Option<String>>>, sqlx::Error>> + Send;

    /// Runs a statement of the user's in a transaction of the user's.
    fn execute_in(
        &self,
        transaction: &mut <Self::Store as Store>::Transaction,
        sql: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// A text column of a row that a verb returned.
    fn text(&self, row: &<Self::Store as Store>::Row, column: &str) -> Option<String>;

    /// A time as an SQL expression, as the store would write it.
    fn time(&self, time: DateTime<Utc>) -> String;

    /// An SQL expression for a time column as text in the form of RFC 3339.
    fn time_text(&self, column: &str) -> String;

    /// The SQL type of a time column.
    fn time_type(&self) -> &'static str;

    /// Makes the database refuse some updates of a table.
    fn refuse_updates(&self, refusal: &Refusal<'_>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Takes the refusal away again.
    fn allow_updates(&self, table: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Deletes the database.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A row trigger before updates. There is at most one on a table.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The quoted name of the table.
    pub table: &'a str,
    /// Which updates it refuses, in terms of `old` and `new`.
    pub when: &'a str,
    /// How.
    pub how: Refusing,
}

/// How a trigger refuses a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusing {
    /// It raises an error with the text [`Refusing::REASON`].
    Loudly,
    /// It makes nothing of the update and says nothing.
    Silently,
}

impl Refusing {
    /// What a loud trigger says.
    pub const REASON: &'static str = "the trigger will not have it";
}
