//! A web service and a worker in one process: they share a database, and one signal stops both gracefully.
//!
//! ```sh
//! DATABASE_URL=postgres://… cargo run --package example-axum-service
//! curl --data letter.tiff http://127.0.0.1:3000/scans   # adds a scan, and answers its id
//! curl http://127.0.0.1:3000/scans/1                    # says where it stands, and why
//! ```
//!
//! It works in the schema `rowlock_example_axum_service`, which it creates and leaves.

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rowlock::store::postgres::PostgresStore;
use rowlock::{Claim, Failure, KeyType, PgContext, PgRepository, Pipeline, Repository, TableName, Worker};
use sqlx::postgres::PgPool;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const TABLE: &str = "
    create schema if not exists rowlock_example_axum_service;
    create table if not exists rowlock_example_axum_service.scans (
        id bigint generated always as identity primary key,
        path text not null
    )";

#[derive(sqlx::FromRow)]
struct Scan {
    path: String,
}

fn pipeline() -> rowlock::Result<Pipeline> {
    let table = TableName::in_schema("rowlock_example_axum_service", "scans");
    let builder = Pipeline::builder("scans").table(table).key("id").key_type(KeyType::BigInt);
    builder.stage("READING").stage("INDEXING").build()
}

// The worker.

/// A handler may use the service's pool too: it is the worker's state.
async fn read(context: PgContext<Scan, PgPool>, scan: Claim<Scan>) -> Result<(), Failure> {
    let same: i64 = sqlx::query_scalar("select count(*) from rowlock_example_axum_service.scans where path = $1")
        .bind(scan.path.as_str())
        .fetch_one(context.state())
        .await?;
    tracing::info!(path = %scan.path, same, "read");
    Ok(())
}

async fn index(_: PgContext<Scan, PgPool>, scan: Claim<Scan>) -> Result<(), Failure> {
    println!("indexed {}", scan.path);
    Ok(())
}

fn worker(scans: PgRepository<Scan>, pool: PgPool) -> Worker<PostgresStore, Scan, PgPool> {
    Worker::new(scans).with_state(pool).handle("READING", read).handle("INDEXING", index)
}

// The service.

#[derive(Clone)]
struct Service {
    pool: PgPool,
    scans: PgRepository<Scan>,
}

fn routes(service: Service) -> Router {
    Router::new().route("/scans", post(add)).route("/scans/{id}", get(show)).with_state(service)
}

/// An `INSERT` adds an item, in any transaction of yours. The trigger wakes an idle worker.
async fn add(State(service): State<Service>, path: String) -> Result<(StatusCode, String), Problem> {
    let id: i64 = sqlx::query_scalar("insert into rowlock_example_axum_service.scans (path) values ($1) returning id")
        .bind(path)
        .fetch_one(&service.pool)
        .await?;
    Ok((StatusCode::ACCEPTED, id.to_string()))
}

async fn show(State(service): State<Service>, Path(id): Path<i64>) -> Result<(StatusCode, String), Problem> {
    let Some(facts) = service.scans.explain(id).await? else {
        return Ok((StatusCode::NOT_FOUND, "there is no such scan".to_owned()));
    };
    let verdict = facts.verdict(service.scans.pipeline());
    Ok((StatusCode::OK, format!("{}: {verdict}", facts.word)))
}

/// An error of the database. Its text goes to the log, not to the client.
struct Problem(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Problem {
        Problem(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        tracing::error!("{:#}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "the service has a problem").into_response()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL must name a PostgreSQL server")?;
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let pool = PgPool::connect(&url).await?;
    sqlx::raw_sql(TABLE).execute(&pool).await?;

    // The store takes the server and the login of the pool, and makes connections for itself: requests that drain the
    // pool do not keep the worker from its heartbeats.
    let scans: PgRepository<Scan> = Repository::new(PostgresStore::from_pool(&pool, pipeline()?));
    scans.prepare().await?;
    scans.store().install_trigger().await?; // `prepare` installs it with a table that it creates

    // One token stops both. Cancelled by a signal, or by the end of the worker: without it the service would only fill
    // the queue.
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        signalled.cancel();
    });
    let worker = worker(scans.clone(), pool.clone()).shutdown_on(stop.clone());
    let ended = stop.clone().drop_guard();
    let work = tokio::spawn(async move {
        let _ended = ended;
        worker.run().await
    });

    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, routes(Service { pool, scans })).with_graceful_shutdown(stop.cancelled_owned()).await?;
    // Handlers that run have the worker's grace period to end.
    let report = work.await??;
    println!("stopped: {} stages completed", report.completed);
    Ok(())
}
