//! The conformance suite on SQLite, on files.

mod sqlite {
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use rowlock::Pipeline;
    use rowlock::conformance::{Harness, Refusal, Refusing, Shape};
    use rowlock::store::sqlite::{SqliteStore, SqliteTransaction};
    use sqlx::sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    };
    use sqlx::{AssertSqlSafe, Executor, Row};
    use tempfile::TempDir;

    rowlock::conformance_tests!(SqliteHarness::new().await);

    /// The verbs on tables of other shapes.
    macro_rules! shapes {
        ($($module:ident: $shape:ident,)+) => {
            $(
                mod $module {
                    use super::SqliteHarness;
                    use rowlock::conformance::Shape;

                    rowlock::conformance_tests!(verbs: SqliteHarness::new().await.shaped(Shape::$shape));
                }
            )+
        };
    }

    shapes! {
        word_list: WordList,
        labels: Enum,
        flags: Flags,
        numbers: Numbers,
        held: Held,
    }

    /// A separate file for one test.
    pub(super) struct SqliteHarness {
        folder: TempDir,
        pool: SqlitePool,
        shape: Shape,
    }

    impl SqliteHarness {
        async fn new() -> SqliteHarness {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let pool = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options(&folder));
            SqliteHarness { folder, pool, shape: Shape::Plain }
        }

        /// The same file for a table of this shape.
        fn shaped(self, shape: Shape) -> SqliteHarness {
            SqliteHarness { shape, ..self }
        }
    }

    /// No test cuts the power, so nothing has to reach the disk.
    fn options(folder: &TempDir) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(folder.path().join("queue.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off)
            .busy_timeout(Duration::from_secs(30))
    }

    impl Harness for SqliteHarness {
        type Store = SqliteStore;

        async fn open(&self, pipeline: Pipeline) -> SqliteStore {
            SqliteStore::with_options(options(&self.folder), pipeline).await.expect("open")
        }

        fn shape(&self) -> Shape {
            self.shape
        }

        async fn text_ignoring_case(&self) -> Result<String, sqlx::Error> {
            Ok("text collate nocase".to_owned())
        }

        async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
            self.pool.execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
        }

        async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
            let rows = self.pool.fetch_all(AssertSqlSafe(sql.to_owned())).await?;
            rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).collect()
        }

        async fn execute_in(&self, transaction: &mut SqliteTransaction, sql: &str) -> Result<(), sqlx::Error> {
            (**transaction).execute(AssertSqlSafe(sql.to_owned())).await.map(drop)
        }

        fn text(&self, row: &SqliteRow, column: &str) -> Option<String> {
            row.try_get(column).expect("a text column")
        }

        fn time(&self, time: DateTime<Utc>) -> String {
            format!("'{}'", time.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
        }

        fn time_text(&self, column: &str) -> String {
            column.to_owned()
        }

        fn time_type(&self) -> &'static str {
            "text"
        }

        async fn refuse_updates(&self, refusal: &Refusal<'_>) -> Result<(), sqlx::Error> {
            let raise = match refusal.how {
                Refusing::Loudly => format!("raise(abort, '{}')", Refusing::REASON),
                Refusing::Silently => "raise(ignore)".to_owned(),
            };
            let sql = format!(
                "create trigger {} before update on {} for each row when ({}) begin select {raise}; end",
                trigger(refusal.table),
                refusal.table,
                refusal.when
            );
            self.execute(&sql).await
        }

        async fn allow_updates(&self, table: &str) -> Result<(), sqlx::Error> {
            self.execute(&format!("drop trigger {}", trigger(table))).await
        }

        async fn close(self) {
            self.pool.close().await;
        }
    }

    /// In SQLite the name of a trigger is unique in the whole database.
    fn trigger(quoted_table: &str) -> String {
        format!("\"refusing {}\"", quoted_table.trim_matches('"'))
    }
}
