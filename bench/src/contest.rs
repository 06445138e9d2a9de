//! A contest: contenders take turns, round by round, each on fresh tables, each verified.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::Executor;

use crate::child::{Contender, Ended};
use crate::contend;
use crate::figures;
use crate::number::readable;
use crate::plan::{Entry, Expected, Place, Plan};
use crate::protocol::{Figures, Mark, Task, Work};
use crate::scene::{Scene, Scenes, Template};
use crate::server::{Sample, Server};

/// Longest run of one contender; a longer one hangs.
const RUN_MAX: Duration = Duration::from_secs(1800);

/// All figures of a contender, round by round.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) label: String,
    pub(crate) settings: String,
    pub(crate) command: Vec<String>,
    pub(crate) rounds: Vec<Figures>,
}

/// The server, and what it needs for a run.
pub(crate) struct Arena {
    pub(crate) scenes: Scenes,
    pub(crate) server: Server,
}

impl Arena {
    pub(crate) async fn new(database: &str) -> Result<Arena> {
        Ok(Arena { scenes: Scenes::new(database).await?, server: Server::connect(database).await? })
    }

    /// Runs a workload to its end, and leaves nothing on the server, whatever the end.
    pub(crate) async fn hold(&mut self, plan: &Plan) -> Result<Vec<Outcome>> {
        let outcomes = self.take_turns(plan).await;
        self.scenes.clear().await?;
        outcomes
    }

    async fn take_turns(&mut self, plan: &Plan) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for entry in &plan.entries {
            outcomes.push(Outcome {
                label: entry.label.clone(),
                settings: String::new(),
                command: entry.program.command(&entry.task)?,
                rounds: Vec::new(),
            });
        }
        for round in 1..=plan.rounds {
            // Every other round backwards, so that nobody always comes after the same one.
            let mut order: Vec<usize> = (0..plan.entries.len()).collect();
            if round % 2 == 0 {
                order.reverse();
            }
            for turn in order {
                let entry = &plan.entries[turn];
                let run = tokio::time::timeout(RUN_MAX, self.run(entry)).await;
                let (mut figures, settings) = run
                    .with_context(|| format!("{} takes longer than {RUN_MAX:?}", entry.label))?
                    .with_context(|| format!("{}, {}", plan.workload, entry.label))?;
                // What could not be had is absent: JSON has no word for it.
                figures.retain(|_, value| value.is_finite());
                let main = figures.get(plan.figures[0]).copied().unwrap_or(f64::NAN);
                eprintln!(
                    "{} round {round}: {:<24} {:>10} {}",
                    plan.workload,
                    entry.label,
                    readable(main),
                    plan.figures[0]
                );
                outcomes[turn].settings = settings;
                outcomes[turn].rounds.push(figures);
            }
        }
        Ok(outcomes)
    }

    async fn run(&mut self, entry: &Entry) -> Result<(Figures, String)> {
        match &entry.place {
            Place::Postgres { template, set_up } => self.run_on_postgres(entry, template, set_up).await,
            Place::Sqlite => run_on_sqlite(entry).await,
        }
    }

    async fn run_on_postgres(
        &mut self,
        entry: &Entry,
        template: &Template,
        set_up: &[String],
    ) -> Result<(Figures, String)> {
        let scene = self.scenes.copy(template, set_up).await?;
        let snapshot = if entry.has_old_snapshot { Some(old_snapshot(&scene).await?) } else { None };
        self.server.wait_until_unused(if entry.has_old_snapshot { "" } else { &scene.name }).await?;
        let task = Task { database: scene.url.clone(), ..entry.task.clone() };
        let (ended, before, after) = self.watch(entry, &task, &scene).await?;
        let mut figures = figures::of_contender(&ended, entry);
        figures::add_costs(&mut figures, &before, &after, entry);
        if let Some(blocks) = self.server.worst_blocks_per_row(&scene.name).await? {
            figures.insert("worst_statement_blocks_per_row".into(), blocks);
        }
        drop(snapshot);
        let handled = verify_handled(entry, &ended)?;
        let checks: Vec<(String, u64)> = entry
            .checks
            .iter()
            .map(|check| match check.expected {
                Expected::Number(number) => (check.query.clone(), number),
                Expected::Handled => (check.query.clone(), handled),
            })
            .collect();
        scene.verify(&checks).await?;
        self.scenes.drop(scene).await?;
        Ok((figures, ended[0].answer.settings.clone()))
    }

    /// Starts the processes, and reads the counters at the marks of the first one; without marks, around all.
    async fn watch(&mut self, entry: &Entry, task: &Task, scene: &Scene) -> Result<(Vec<Ended>, Sample, Sample)> {
        let mut before = self.server.sample(scene).await?;
        let mut at_end = None;
        let mut contenders = Vec::new();
        for _ in 0..entry.processes {
            contenders.push(Contender::start(&entry.program, task)?);
        }
        let mut ended = Vec::new();
        for contender in &mut contenders {
            loop {
                match contender.next().await? {
                    Ok(Mark::Begin) => {
                        before = self.server.sample(scene).await?;
                        contender.go_on().await?;
                    }
                    Ok(Mark::End) => {
                        at_end = Some(self.server.sample(scene).await?);
                        contender.go_on().await?;
                    }
                    Err(end) => {
                        ended.push(end);
                        break;
                    }
                }
            }
        }
        self.server.wait_until_unused(if entry.has_old_snapshot { "" } else { &scene.name }).await?;
        let after = match at_end {
            Some(sample) => sample,
            None => self.server.sample(scene).await?,
        };
        Ok((ended, before, after))
    }
}

/// A session that holds a snapshot from now on, as a forgotten report or a dump does.
async fn old_snapshot(scene: &Scene) -> Result<sqlx::PgConnection> {
    let mut session = scene.connect().await?;
    session.execute("begin isolation level repeatable read").await?;
    session.execute("select count(*) from pg_class").await?;
    Ok(session)
}

/// Nobody may have handled an item twice, or left one out.
fn verify_handled(entry: &Entry, ended: &[Ended]) -> Result<u64> {
    let handled: u64 = ended.iter().map(|end| end.answer.handled).sum();
    let runs = match entry.task.work {
        Work::Drain => entry.task.to_handle() * entry.task.stages as u64,
        Work::Retry => entry.task.items * 4,
        Work::Idle => handled,
        Work::Small | Work::Add | Work::Wake | Work::Alive | Work::Videos => entry.task.to_handle(),
    };
    let fits = if entry.task.take.is_some() { handled >= runs } else { handled == runs };
    ensure!(fits, "{handled} runs for {runs}: this run is no result");
    Ok(handled)
}

async fn run_on_sqlite(entry: &Entry) -> Result<(Figures, String)> {
    // Not /tmp, which may be held in memory, where durability costs nothing.
    let folder = std::path::Path::new("/var/tmp").join(format!("rowlock-bench-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&folder)?;
    let result = async {
        let file = folder.join("items.sqlite");
        contend::sqlite_fill(&file, entry.task.items).await?;
        let task = Task { database: file.to_string_lossy().into_owned(), ..entry.task.clone() };
        let mut contender = Contender::start(&entry.program, &task)?;
        let ended = loop {
            if let Err(ended) = contender.next().await? {
                break [ended];
            }
        };
        verify_handled(entry, &ended)?;
        let succeeded = contend::sqlite_succeeded(&file)?;
        ensure!(succeeded == entry.task.items, "{succeeded} of {} succeeded: this run is no result", entry.task.items);
        Ok((figures::of_contender(&ended, entry), ended[0].answer.settings.clone()))
    }
    .await;
    std::fs::remove_dir_all(&folder)?;
    result
}
