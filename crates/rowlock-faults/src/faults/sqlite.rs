//! Several processes on one SQLite file, killed at random; and a copy of the file, taken right after a kill, which must
//! be intact.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rowlock::{Repository, Worker};

use super::Arena;
use crate::arena::{Cast, Round, Scene};
use crate::audit::{Evidence, Violation, audit};
use crate::report::Verdict;
use crate::subject::Database;

/// A copy is taken after one kill in this many. One of our own workers finishes one copy in three: that is as much work
/// as the scene itself.
const COPIES_EVERY: usize = 5;

/// How long one of our own workers may take for the items of a copy.
const FINISH_WITHIN: Duration = Duration::from_secs(300);

pub(super) async fn run(_: &Arena, round: &Round) -> Result<Verdict> {
    let cast = Cast { stale_after: Duration::from_secs(4), ..Cast::default() };
    let mut scene = Scene::on_file(round, cast).await?;
    scene.start()?;
    let mut broken = Vec::new();
    for number in 0..scene.injections_wanted() {
        if !scene.is_busy_after(200..=1_000).await? {
            break;
        }
        let victim = scene.any_process();
        scene.injected();
        scene.fleet.kill(victim).await?;
        if number % COPIES_EVERY == 0 {
            let finish = number % (3 * COPIES_EVERY) == 0;
            broken.extend(check_copy(&mut scene, round, finish).await?);
        }
    }
    let mut verdict = scene.drain_and_judge().await?;
    verdict.violations.extend(broken);
    Ok(verdict)
}

/// Stops every process, as a power cut would, copies the file with its log, and lets them continue.
async fn check_copy(scene: &mut Scene, round: &Round, finish: bool) -> Result<Vec<String>> {
    let stopped: Vec<_> = (0..scene.fleet.len()).map(|number| (number, scene.fleet.stop(number))).collect();
    for (number, _) in &stopped {
        scene.fleet.until_stopped(*number).await?;
    }
    let file = round.folder.join("items.sqlite");
    let copy = round.folder.join("copy.sqlite");
    for suffix in ["", "-wal"] {
        let from = with_suffix(&file, suffix);
        if from.exists() {
            std::fs::copy(&from, with_suffix(&copy, suffix)).context("copying the file")?;
        }
    }
    for (number, at) in stopped {
        scene.fleet.resume(number, at);
    }
    let violations = audit_copy(&copy, scene.cast.stale_after, finish).await?;
    for suffix in ["", "-wal", "-shm"] {
        let leftover = with_suffix(&copy, suffix);
        if leftover.exists() {
            std::fs::remove_file(leftover)?;
        }
    }
    Ok(violations)
}

fn with_suffix(file: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The copy is intact; the auditor finds no violation in it except that work is left; and, if it is to be finished, a
/// worker that finds it takes every item to its end.
async fn audit_copy(copy: &Path, stale_after: Duration, finish: bool) -> Result<Vec<String>> {
    let url = format!("sqlite://{}", copy.display());
    let database = Database::lazy(&url)?;
    let Database::Sqlite(pool) = &database else { return Ok(Vec::new()) };
    let mut violations = Vec::new();
    let integrity: String = sqlx::query_scalar("pragma integrity_check").fetch_one(pool).await?;
    if integrity != "ok" {
        violations.push(format!("the copy is damaged: {integrity}"));
    }
    // There is no worker's log of the moment of the copy, and its work is not at an end.
    let evidence = Evidence { stale_after, timeout: Duration::MAX, ..Evidence::of_tables(&database).await? };
    let seen_without_logs = |one: &Violation| {
        !matches!(
            one,
            Violation::NotTerminal { .. } | Violation::InnocentFailed { .. } | Violation::UnreportedRetry { .. }
        )
    };
    let found = audit(&evidence).violations.into_iter().filter(seen_without_logs);
    violations.extend(found.map(|violation| format!("the copy: {violation}")));
    if !finish {
        database.close().await;
        return Ok(violations);
    }
    finish_what_is_left(&url).await?;
    let orphans = "select count(*) from effects e where not exists (select 1 from moves m where m.item = e.item \
                   and m.token = e.token and m.became in ('ONE_COMPLETE', 'SUCCEEDED'))";
    for (what, sql) in [
        ("effects without their completion", orphans),
        ("items that are not terminal", "select count(*) from items where status not in ('SUCCEEDED', 'FAILED')"),
    ] {
        let count = database.number(sql).await?;
        if count > 0 {
            violations.push(format!("the copy has {count} {what}"));
        }
    }
    database.close().await;
    Ok(violations)
}

/// A worker of this process continues the copy's items, whose leases are soon stale.
async fn finish_what_is_left(url: &str) -> Result<()> {
    #[derive(sqlx::FromRow)]
    struct Item {}
    let pipeline = crate::subject::pipeline(Duration::from_secs(1), Duration::from_secs(60))?;
    let store = rowlock::store::sqlite::SqliteStore::connect(url, pipeline).await?;
    let repository: Repository<_, Item> = Repository::new(store);
    let mut worker = Worker::new(repository);
    for stage in crate::subject::STAGES {
        worker = worker.concurrency(stage, 16).handle(stage, |_, _| async { Ok(()) });
    }
    tokio::time::timeout(FINISH_WITHIN, worker.run_until_idle()).await.context("the copy's items do not end")??;
    Ok(())
}
