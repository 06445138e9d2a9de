//! A contest: contenders take turns, round by round, each on fresh tables, each verified.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use sqlx::Executor;

use crate::child::{Contender, Ended};
use crate::contend;
use crate::figures;
use crate::keys_seen;
use crate::number::readable;
use crate::plan::{Entry, Expected, Place, Plan};
use crate::protocol::{Figures, Mark, Task, Work};
use crate::scene::{Scene, Scenes, Template};
use crate::server::{Sample, Server};
use crate::statements::{Statements, slowest_mean_ms, worst_blocks_per_row, worst_growth};

/// The longest run of one contender; a longer one hangs.
const RUN_MAX: Duration = Duration::from_secs(1800);

/// All figures of a contender, round by round; a part of the result's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) label: String,
    pub(crate) settings: String,
    pub(crate) command: Vec<String>,
    /// From the first round on, without a gap: a contender that failed once takes no further part.
    pub(crate) rounds: Vec<Figures>,
    /// The cost of each statement, round by round, if the workload asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) statements: Vec<Statements>,
    /// The reason why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// The server, and the resources of a run.
pub(crate) struct Arena {
    pub(crate) scenes: Scenes,
    pub(crate) server: Server,
}

impl Arena {
    pub(crate) async fn new(database: &str) -> Result<Arena> {
        Ok(Arena { scenes: Scenes::new(database).await?, server: Server::connect(database).await? })
    }

    /// Runs a workload to its end, and leaves nothing on the server, however it ends. A contender that fails has no
    /// result; the others go on.
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
                statements: Vec::new(),
                failure: None,
            });
        }
        for round in 1..=plan.rounds {
            // Every other round in reverse order, so that no contender always follows the same one.
            let mut order: Vec<usize> = (0..plan.entries.len()).collect();
            if round % 2 == 0 {
                order.reverse();
            }
            for turn in order {
                let entry = &plan.entries[turn];
                if round > entry.rounds_max || outcomes[turn].failure.is_some() {
                    continue;
                }
                let run = tokio::time::timeout(RUN_MAX, self.run(entry)).await;
                let run = run.unwrap_or_else(|_| Err(anyhow!("it takes longer than {RUN_MAX:?}")));
                let Ran { mut figures, settings, statements } = match run {
                    Ok(run) => run,
                    Err(error) => {
                        let failure = format!("round {round}: {error:#}");
                        eprintln!("{} {}: no result: {failure}", plan.workload, entry.label);
                        outcomes[turn].failure = Some(failure);
                        // Its table may be large, and its processes have ended.
                        self.scenes.drop_copies().await?;
                        continue;
                    }
                };
                // Figures that could not be read are absent: JSON has no value for that.
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
                outcomes[turn].statements.extend(statements);
            }
        }
        compare_statements(plan, &mut outcomes);
        Ok(outcomes)
    }

    async fn run(&mut self, entry: &Entry) -> Result<Ran> {
        match &entry.place {
            Place::Postgres { template, set_up } => self.run_on_postgres(entry, template, set_up).await,
            Place::Sqlite { by_hand } => run_on_sqlite(entry, *by_hand).await,
        }
    }

    async fn run_on_postgres(&mut self, entry: &Entry, template: &Template, set_up: &[String]) -> Result<Ran> {
        let scene = self.scenes.copy(template, set_up).await?;
        let snapshot = if entry.has_old_snapshot { Some(old_snapshot(&scene).await?) } else { None };
        self.server.wait_until_unused(if entry.has_old_snapshot { "" } else { &scene.name }).await?;
        let task = Task { database: scene.url.clone(), ..entry.task.clone() };
        let (ended, before, after) = self.watch(entry, &task, &scene).await?;
        let mut figures = figures::of_contender(&ended, entry);
        figures::add_costs(&mut figures, &before, &after, entry);
        let mut statements = None;
        if entry.task.work == Work::Retry {
            statements = self.server.statements(&scene.name).await?;
        }
        if let Some(statements) = &statements {
            figures.insert("worst_statement_blocks_per_row".into(), worst_blocks_per_row(statements));
            figures.insert("slowest_statement_mean_ms".into(), slowest_mean_ms(statements));
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
        Ok(Ran { figures, settings: ended[0].answer.settings.clone(), statements })
    }

    /// Starts the processes, and reads the counters at the marks of the first one; without marks, before and after all
    /// of it.
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

/// One run of one contender.
struct Ran {
    figures: Figures,
    settings: String,
    statements: Option<Statements>,
}

/// The worst growth of a statement, relative to the entry that did the same with fewer items in the same round.
fn compare_statements(plan: &Plan, outcomes: &mut [Outcome]) {
    for (turn, entry) in plan.entries.iter().enumerate() {
        let few = entry.few.and_then(|few| outcomes.iter().find(|outcome| outcome.label == few));
        let Some(few) = few.map(|few| few.statements.clone()) else { continue };
        let many = &mut outcomes[turn];
        for ((figures, few), many) in many.rounds.iter_mut().zip(&few).zip(&many.statements) {
            if let Some((text, growth)) = worst_growth(few, many) {
                figures.insert("worst_statement_growth".into(), growth);
                let start: String = text.split_whitespace().take(40).collect::<Vec<_>>().join(" ");
                eprintln!("{}: {} grows most, {} times: {start}", plan.workload, entry.label, readable(growth));
            }
        }
    }
}

/// A session that holds a snapshot from now on, as a forgotten report or a dump does.
async fn old_snapshot(scene: &Scene) -> Result<sqlx::PgConnection> {
    let mut session = scene.connect().await?;
    session.execute("begin isolation level repeatable read").await?;
    session.execute("select count(*) from pg_class").await?;
    Ok(session)
}

/// No contender may have handled an item twice, or left one out.
fn verify_handled(entry: &Entry, ended: &[Ended]) -> Result<u64> {
    let handled: u64 = ended.iter().map(|end| end.answer.handled).sum();
    let runs = match entry.task.work {
        Work::Drain => entry.task.to_handle() * entry.task.stages as u64,
        Work::Retry => entry.task.items * contend::RUNS_IN_A_STORM as u64,
        Work::Idle => handled,
        Work::Small | Work::Add | Work::Wake | Work::Alive | Work::Videos => entry.task.to_handle(),
    };
    let fits = if entry.task.take.is_some() { handled >= runs } else { handled == runs };
    ensure!(fits, "{handled} runs for {runs}: this run is no result");
    let seen: Option<Vec<u64>> = ended.iter().map(|end| end.answer.keys_seen).collect();
    if let (Some(seen), None) = (seen, entry.task.take) {
        let times = if entry.task.work == Work::Retry { contend::RUNS_IN_A_STORM as u64 } else { 1 };
        let all = keys_seen::of_all(entry.task.items, entry.task.stages as u64).wrapping_mul(times);
        let seen = seen.into_iter().fold(0, u64::wrapping_add);
        ensure!(seen == all, "an item was handled twice and another was left out: this run is no result");
    }
    Ok(handled)
}

async fn run_on_sqlite(entry: &Entry, by_hand: bool) -> Result<Ran> {
    // Not /tmp, which may be in memory, where durability costs nothing.
    let folder = tempfile::Builder::new().prefix("rowlock-bench-").tempdir_in("/var/tmp")?;
    let file = folder.path().join("items.sqlite");
    contend::sqlite_fill(&file, entry.task.items).await?;
    if by_hand {
        contend::sqlite_index_by_hand(&file)?;
    }
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
    let settings = ended[0].answer.settings.clone();
    Ok(Ran { figures: figures::of_contender(&ended, entry), settings, statements: None })
}
