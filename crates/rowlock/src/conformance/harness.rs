//! What the suite needs from a database set-up.

use std::future::Future;

use chrono::{DateTime, Utc};

use super::Shape;
use crate::pipeline::Pipeline;
use crate::store::Store;

/// A separate database for one test, empty at first: a way to open a store on it, and raw SQL for what no verb would
/// write.
///
/// The suite's own SQL is the same for every dialect; the differences are behind these methods.
pub trait Harness: Send + Sync + 'static {
    /// The store under test.
    type Store: Store;

    /// Opens a store for this pipeline on this harness's database. Nothing is prepared; a second call opens a second
    /// store on the same database.
    fn open(&self, pipeline: Pipeline) -> impl Future<Output = Self::Store> + Send;

    /// The shape of the table; the library's own by default.
    fn shape(&self) -> Shape {
        Shape::Plain
    }

    /// Creates what a text column needs to compare without regard to case, and returns its SQL type.
    fn text_ignoring_case(&self) -> impl Future<Output = Result<String, sqlx::Error>> + Send;

    /// Runs statements without the store.
    fn execute(&self, sql: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Runs a query without the store. All of its columns are text.
    fn rows(&self, sql: &str) -> impl Future<Output = Result<Vec<Vec<Option<String>>>, sqlx::Error>> + Send;

    /// Runs a user's statement in a user's transaction.
    fn execute_in(
        &self,
        transaction: &mut <Self::Store as Store>::Transaction,
        sql: &str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// A text column of a row that a verb returned.
    fn text(&self, row: &<Self::Store as Store>::Row, column: &str) -> Option<String>;

    /// A time as an SQL expression, in the form that the store would write.
    fn time(&self, time: DateTime<Utc>) -> String;

    /// An SQL expression that shows a time column as text, in the form of RFC 3339.
    fn time_text(&self, column: &str) -> String;

    /// The SQL type of a time column.
    fn time_type(&self) -> &'static str;

    /// Makes the database refuse some updates of a table.
    fn refuse_updates(&self, refusal: &Refusal<'_>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Removes that refusal.
    fn allow_updates(&self, table: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Deletes the database.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A row trigger before updates. There is at most one on a table.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The quoted name of the table.
    pub table: &'a str,
    /// The updates that it refuses, in terms of `old` and `new`.
    pub when: &'a str,
    /// How it refuses them.
    pub how: Refusing,
}

/// How a trigger refuses a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusing {
    /// It raises an error with the text [`Refusing::REASON`].
    Loudly,
    /// It suppresses the update and says nothing.
    Silently,
}

impl Refusing {
    /// The text that a loud trigger raises.
    pub const REASON: &'static str = "the trigger will not have it";
}
