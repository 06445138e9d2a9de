//! A table that the team already has becomes the queue. Its columns and words stay, and its waiting rows are the items.
//!
//! Run it by `DATABASE_URL=postgres://… cargo run --example own_table`. It works in a schema that it creates and drops.

use anyhow::Context as _;
use rowlock::store::postgres::PostgresStore;
use rowlock::{Failure, KeyType, PgRepository, Pipeline, Repository, Role, Stage, TableName, Worker};
use sqlx::postgres::PgPool;

/// The table as it was before Rowlock, with rows in three states.
const TABLE: &str = "
    drop schema if exists rowlock_example_own_table cascade;
    create schema rowlock_example_own_table;
    create table rowlock_example_own_table.scans (
        id bigint generated always as identity primary key,
        path text not null,
        pages integer not null,
        state text not null default 'new'
            check (state in ('new', 'reading', 'read', 'indexing', 'done', 'broken', 'cancelled')),
        tries integer not null default 0,
        problem text,
        worker text,
        added_at timestamptz not null default now()
    );
    insert into rowlock_example_own_table.scans (path, pages, state) values
        ('letter.tiff', 2, 'new'), ('plan.tiff', 1, 'read'), ('deed.tiff', 9, 'done'), ('empty.tiff', 0, 'new')";

/// The columns that the handlers read. `rowlock::JsonRecord` would read any table.
#[derive(sqlx::FromRow)]
struct Scan {
    path: String,
    pages: i32,
}

/// Which column plays which role, and which words the state column has. `prepare` adds columns for the other roles.
fn pipeline() -> rowlock::Result<Pipeline> {
    Pipeline::builder("scans")
        .table(TableName::in_schema("rowlock_example_own_table", "scans"))
        .key("id")
        .key_type(KeyType::BigInt)
        .column(Role::Status, "state")
        .column(Role::RetryCount, "tries")
        .column(Role::ErrorMessage, "problem")
        .column(Role::ClaimedBy, "worker")
        .column(Role::CreatedAt, "added_at")
        .add_stage(Stage::new("READING").with_ready("new").with_running("reading"))
        .add_stage(Stage::new("INDEXING").with_ready("read").with_running("indexing"))
        .succeeded("done")
        .failed("broken")
        .cancelled("cancelled")
        .build()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL must name a PostgreSQL server")?;
    let pool = PgPool::connect(&url).await?;
    sqlx::raw_sql(TABLE).execute(&pool).await?;

    let scans: PgRepository<Scan> = Repository::new(PostgresStore::connect(&url, pipeline()?).await?);
    for lack in scans.inspect().await? {
        println!("the table lacks: {lack}");
    }
    scans.prepare().await?;

    let report = Worker::new(scans)
        .handle("READING", |_, scan| async move {
            if scan.pages == 0 {
                return Err(Failure::permanent("a scan without pages"));
            }
            println!("reading {} pages of {}", scan.pages, scan.path);
            Ok(())
        })
        .handle("INDEXING", |_, scan| async move {
            println!("indexing {}", scan.path);
            Ok(())
        })
        .run_until_idle()
        .await?;
    println!("{} stages completed, {} scan failed", report.completed, report.failed);

    // The row is the only record of where its item stands.
    let rows: Vec<(String, String, Option<String>)> =
        sqlx::query_as("select path, state, problem from rowlock_example_own_table.scans order by id")
            .fetch_all(&pool)
            .await?;
    for (path, state, problem) in rows {
        println!("{path} is {state}: {}", problem.unwrap_or_default());
    }
    sqlx::raw_sql("drop schema rowlock_example_own_table cascade").execute(&pool).await?;
    Ok(())
}
