//! Writes of a handler and the move of its item in one transaction: both are committed, once, or neither is.
//!
//! Run it by `DATABASE_URL=postgres://… cargo run --example complete_in`. It works in a schema that it creates and
//! drops.

use std::time::Duration;

use anyhow::Context as _;
use rowlock::store::postgres::PostgresStore;
use rowlock::{Failure, PgRepository, Pipeline, Repository, RetryPolicy, TableName, Worker};
use sqlx::postgres::PgPool;

const TABLES: &str = "
    drop schema if exists rowlock_example_complete_in cascade;
    create schema rowlock_example_complete_in;
    create table rowlock_example_complete_in.payments (
        payment_id text primary key,
        account text not null,
        cents bigint not null
    );
    create table rowlock_example_complete_in.ledger (payment_id text not null, account text not null, cents bigint)";

#[derive(sqlx::FromRow)]
struct Payment {
    account: String,
    cents: i64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL must name a PostgreSQL server")?;
    let pool = PgPool::connect(&url).await?;
    sqlx::raw_sql(TABLES).execute(&pool).await?;

    let pipeline = Pipeline::builder("payments")
        .table(TableName::in_schema("rowlock_example_complete_in", "payments"))
        .key("payment_id")
        .stage("BOOKING")
        .retry(RetryPolicy::constant(Duration::from_millis(50))) // the default waits for minutes
        .build()?;
    let payments: PgRepository<Payment> = Repository::new(PostgresStore::connect(&url, pipeline).await?);
    payments.prepare().await?;

    // An item is a row: any INSERT adds one, in whatever transaction it stands.
    let insert = "insert into rowlock_example_complete_in.payments (payment_id, account, cents) values
        ('p-1', 'rent', 90000), ('p-2', 'savings', 2500), ('p-3', 'rent', 90000)";
    sqlx::raw_sql(insert).execute(&pool).await?;

    let report = Worker::new(payments)
        .handle("BOOKING", |context, payment| async move {
            // Begin the transaction after the computation: it has a connection for itself.
            let mut transaction = context.begin().await?;
            sqlx::query("insert into rowlock_example_complete_in.ledger values ($1, $2, $3)")
                .bind(payment.key().as_str())
                .bind(payment.account.as_str())
                .bind(payment.cents)
                .execute(&mut *transaction)
                .await?;
            if payment.account == "savings" && payment.retry_count() == 0 {
                // The transaction is dropped here: its entry is rolled back, and the item is tried again.
                return Err(Failure::retryable("a fault after the write, for the sake of the example"));
            }
            Ok(payment.complete_in(transaction).await?)
        })
        .run_until_idle()
        .await?;
    println!("{} payments booked, {} attempt repeated", report.completed, report.retried);

    let (entries, booked): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct payment_id) from rowlock_example_complete_in.ledger")
            .fetch_one(&pool)
            .await?;
    println!("{entries} entries for {booked} payments");
    sqlx::raw_sql("drop schema rowlock_example_complete_in cascade").execute(&pool).await?;
    Ok(())
}
