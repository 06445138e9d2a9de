//! Fresh tables for every run: a database that is copied from a template, which is filled once for each workload.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rowlock::store::postgres::PostgresStore;
use rowlock::{Pipeline, RetryPolicy, Store};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// The table of every contender that works on Rowlock's columns.
pub(crate) const TABLE: &str = "items";

/// The time between two heartbeats if items are held for long.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The pipeline of one or more stages, with a user's default words.
pub(crate) fn pipeline(stages: usize) -> Result<Pipeline> {
    let builder = Pipeline::builder("bench").table(TABLE).key("id");
    Ok((1..=stages).fold(builder, |builder, stage| builder.stage(format!("STAGE_{stage}"))).build()?)
}

/// The same for the retry storm: every failure waits equally long.
pub(crate) fn retrying_pipeline(delay_secs: f64) -> Result<Pipeline> {
    let retry = RetryPolicy::constant(Duration::from_secs_f64(delay_secs));
    Ok(Pipeline::builder("bench").table(TABLE).key("id").stage("STAGE_1").retry(retry).build()?)
}

/// The same with heartbeats frequent enough that some fall into the time that a benchmark can spend.
pub(crate) fn held_pipeline() -> Result<Pipeline> {
    let builder = Pipeline::builder("bench").table(TABLE).key("id").stage("STAGE_1");
    Ok(builder.stale_after(HEARTBEAT_INTERVAL * 3).build()?)
}

/// This many ready items, a millisecond of age apart. The keys are unordered, as hashes are; their last eight digits
/// are the item's number, which shows whether each one was handled (keys_seen.rs).
pub(crate) fn ready_items(items: u64) -> String {
    format!(
        "insert into {TABLE} (id, created_at)
         select left(md5(n::text), 24) || lpad(to_hex(n), 8, '0'), now() - ({items} - n) * interval '1 ms' \
         from generate_series(1, {items}) n"
    )
}

/// The template from which the tables of a run are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) name: &'static str,
    pub(crate) stages: usize,
    /// Statements that fill it, after Rowlock has prepared its table.
    pub(crate) fill: Vec<String>,
}

/// A server on which templates and their copies are made.
pub(crate) struct Scenes {
    admin: PgConnection,
    options: PgConnectOptions,
    url: String,
    made: Vec<(Template, String)>,
    copies: Vec<String>,
}

/// A database of one run.
pub(crate) struct Scene {
    pub(crate) name: String,
    pub(crate) url: String,
    options: PgConnectOptions,
}

impl Scenes {
    pub(crate) async fn new(database: &str) -> Result<Scenes> {
        let options: PgConnectOptions = database.parse().context("the database URL")?;
        let admin = PgConnection::connect_with(&options).await.context("connecting to the server")?;
        Ok(Scenes { admin, options, url: database.to_owned(), made: Vec::new(), copies: Vec::new() })
    }

    /// A copy of the template, with this contender's own additions. At the end the server writes a checkpoint, so that
    /// every contender starts with a clean cache.
    pub(crate) async fn copy(&mut self, template: &Template, set_up: &[String]) -> Result<Scene> {
        let source = match self.made.iter().find(|(made, _)| made == template) {
            Some((_, name)) => name.clone(),
            None => self.fill(template).await?,
        };
        let name = fresh_name(template.name);
        self.copies.push(name.clone());
        self.run(format!("create database {name} template {source} strategy file_copy")).await?;
        let options = self.options.clone().database(&name);
        if !set_up.is_empty() {
            let mut connection = PgConnection::connect_with(&options).await?;
            for statement in set_up {
                connection.execute(AssertSqlSafe(statement.clone())).await.with_context(|| statement.clone())?;
            }
            connection.close().await?;
            self.run("checkpoint".to_owned()).await?;
        }
        Ok(Scene { url: with_database(&self.url, &name), name, options })
    }

    async fn fill(&mut self, template: &Template) -> Result<String> {
        let name = fresh_name(template.name);
        // It counts as a copy until it is full: half a template is useless.
        self.copies.push(name.clone());
        self.run(format!("create database {name}")).await?;
        let options = self.options.clone().database(&name);
        let store = PostgresStore::with_options(options.clone(), pipeline(template.stages)?);
        store.prepare().await?;
        store.close().await;
        let mut connection = PgConnection::connect_with(&options).await?;
        for statement in &template.fill {
            connection.execute(AssertSqlSafe(statement.clone())).await.with_context(|| statement.clone())?;
        }
        connection.execute("vacuum analyze").await?;
        connection.close().await?;
        self.copies.retain(|copy| *copy != name);
        self.made.push((template.clone(), name.clone()));
        Ok(name)
    }

    pub(crate) async fn drop(&mut self, scene: Scene) -> Result<()> {
        self.copies.retain(|copy| *copy != scene.name);
        self.run(format!("drop database {} with (force)", scene.name)).await
    }

    /// Drops the copies of a failed run.
    pub(crate) async fn drop_copies(&mut self) -> Result<()> {
        for name in std::mem::take(&mut self.copies) {
            self.run(format!("drop database if exists {name} with (force)")).await?;
        }
        Ok(())
    }

    /// Drops the templates too.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        self.drop_copies().await?;
        for (_, name) in std::mem::take(&mut self.made) {
            self.run(format!("drop database if exists {name} with (force)")).await?;
        }
        Ok(())
    }

    async fn run(&mut self, statement: String) -> Result<()> {
        self.admin.execute(AssertSqlSafe(statement.clone())).await.context(statement)?;
        Ok(())
    }
}

impl Scene {
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect_with(&self.options).await?)
    }

    /// Rejects a wrong final state.
    pub(crate) async fn verify(&self, counts: &[(String, u64)]) -> Result<()> {
        let mut connection = self.connect().await?;
        for (query, expected) in counts {
            let found: i64 = sqlx::query_scalar(AssertSqlSafe(query.clone())).fetch_one(&mut connection).await?;
            ensure!(u64::try_from(found) == Ok(*expected), "{query}: {found}, not {expected}: this run is no result");
        }
        connection.close().await?;
        Ok(())
    }
}

/// The same server's URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').map_or((url, None), |(address, options)| (address, Some(options)));
    // The first two slashes belong to the scheme.
    let server = match address.match_indices('/').nth(2) {
        Some((end, _)) => &address[..end],
        None => address,
    };
    options.map_or_else(|| format!("{server}/{name}"), |options| format!("{server}/{name}?{options}"))
}

fn fresh_name(template: &str) -> String {
    format!("rowlock_bench_{template}_{}_{:08x}", std::process::id(), rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn a_url_gets_another_database_and_keeps_its_options() {
        assert_eq!(with_database("postgres://u:p@h:1/db?sslmode=disable", "x"), "postgres://u:p@h:1/x?sslmode=disable");
        assert_eq!(with_database("postgres://u@h", "x"), "postgres://u@h/x");
    }
}
