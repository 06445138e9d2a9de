//! The worker on SQLite.

#[macro_use]
mod worker_cases;

use rowlock::pipeline::Pipeline;
use rowlock::store::Store;
use rowlock::store::sqlite::{SqliteStore, SqliteTransaction};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use worker_cases::Database;

/// A file of its own.
struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    fn new() -> Sqlite {
        Sqlite { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("queue.sqlite")
    }
}

impl Database for Sqlite {
    type S = SqliteStore;

    async fn store(&self, pipeline: Pipeline) -> SqliteStore {
        let store = SqliteStore::open(self.file(), pipeline).await.expect("the file opens");
        store.prepare().await.expect("the table is created");
        store
    }

    async fn execute(&self, sql: &str) {
        let options = SqliteConnectOptions::new().filename(self.file()).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the file opens");
        connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
    }

    async fn execute_in(transaction: &mut SqliteTransaction, sql: &'static str) -> Result<(), sqlx::Error> {
        (&mut **transaction).execute(sql).await.map(drop)
    }
}

macro_rules! on_sqlite {
    ($($module:ident :: $case:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    super::worker_cases::$module::$case(&super::Sqlite::new()).await;
                }
            )*
        }
    };
}

with_all_cases!(on_sqlite);
