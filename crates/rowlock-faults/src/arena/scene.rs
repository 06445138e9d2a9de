//! A scene: one database with items in it, a fleet that works on them, and a record of the harm done to them.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Fleet;
use super::url::with_database;
use crate::audit::{Affliction, Answer, Evidence, audit};
use crate::report::{Injections, Verdict};
use crate::subject::{Assignment, Behaviour, Database, pipeline};

/// How large the attacks are.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Items of a scene.
    pub items: usize,
    /// Worker processes of a scene.
    pub processes: usize,
    /// Items that may be added to a scene whose fleet has finished before the fault.
    pub more_items_max: usize,
    /// Injections of one fault.
    pub injections: usize,
    /// The long round, for `make faults`: the scene has the machine to itself, so that lateness is a violation.
    pub is_long: bool,
}

impl Size {
    /// For `make faults`.
    pub const FULL: Size = Size { items: 20_000, processes: 8, more_items_max: 100_000, injections: 30, is_long: true };
    /// For `make test`.
    pub const SHORT: Size = Size { items: 400, processes: 3, more_items_max: 400, injections: 3, is_long: false };
}

/// One run of one fault.
#[derive(Debug)]
pub struct Round {
    /// The source of all random choices.
    pub seed: u64,
    /// Its size.
    pub size: Size,
    /// The suite's own command.
    pub program: PathBuf,
    /// The folder for logs.
    pub folder: PathBuf,
}

impl Round {
    /// The same for one of several scenes of a fault, with a separate folder and separate random choices.
    ///
    /// # Errors
    /// A folder that cannot be created.
    pub fn part(&self, name: &str) -> Result<Round> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("the folder {}", folder.display()))?;
        Ok(Round { seed: self.lots(name).random(), folder, program: self.program.clone(), ..*self })
    }

    /// Random numbers, the same for the same seed and purpose.
    pub fn lots(&self, purpose: &str) -> StdRng {
        let mixed = purpose.bytes().fold(self.seed, |mix, byte| {
            (mix ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) // FNV-1a
        });
        StdRng::seed_from_u64(mixed)
    }
}

/// The settings with which a scene starts.
#[derive(Debug, Clone)]
pub struct Cast {
    /// The age from which on a lease is stale.
    pub stale_after: Duration,
    /// The longest run of a handler.
    pub timeout: Duration,
    /// Handlers of each stage that run at once in each process.
    pub slots: usize,
    /// Threads for handlers in each process.
    pub threads: usize,
    /// How long a handler works.
    pub work_ms: RangeInclusive<i32>,
    /// Items with a behaviour other than `work`: how many of each.
    pub others: Vec<(Behaviour, usize)>,
    /// The encoding of a database on a server, under PostgreSQL's name.
    pub encoding: &'static str,
    /// The SQL to run before the table is prepared; empty if `prepare` is to create it.
    pub create: &'static str,
}

impl Default for Cast {
    fn default() -> Cast {
        Cast {
            stale_after: Duration::from_secs(3),
            timeout: Duration::from_secs(60),
            slots: 4,
            threads: 2,
            work_ms: 0..=4,
            others: Vec::new(),
            encoding: "UTF8",
            create: "",
        }
    }
}

/// One database, its items and its fleet.
#[derive(Debug)]
pub struct Scene {
    /// The suite's own connections; they bypass any proxy.
    pub database: Database,
    /// The processes.
    pub fleet: Fleet,
    /// The random choices.
    pub lots: StdRng,
    /// Its settings.
    pub cast: Cast,
    /// Items that are edited by hand or deleted: any move of theirs is allowed.
    pub edited: Vec<String>,
    /// The numbers of the moves that were made by hand, whatever they look like.
    pub moves_by_hand: Vec<i64>,
    /// The answers to operators' verbs.
    pub answers: Vec<Answer>,
    /// Items that must end `FAILED`, besides those whose behaviour implies it.
    pub doomed: Vec<String>,
    /// Only the items themselves harm the workers.
    pub only_items_harm: bool,
    /// No retry and no reset may be counted.
    pub nothing_counted: bool,
    /// The database answers all the time: either a dead or stopped holder's lease is swept, or there is a violation.
    pub the_living_keep_their_leases: bool,
    /// What a dead process held must be taken back within this time.
    pub taken_back_within: Option<Duration>,
    /// The longest time without a completion between the first and the last one: bad rows must not hold up others.
    pub no_standstill_of: Option<Duration>,
    /// When the suite stopped waiting because nothing had moved for long enough.
    pub given_up_at: Option<DateTime<Utc>>,
    /// The log of failures is damaged, and need not name each failed item.
    pub log_of_failures_is_harmed: bool,
    /// The database's URL, bypassing any proxy.
    pub url: String,
    size: Size,
    added: usize,
    more_items_added: usize,
    injections: Injections,
    started: Instant,
}

/// How many items are not terminal.
const UNFINISHED: &str = "select count(*) from items where status not in ('SUCCEEDED', 'FAILED', 'CANCELLED')";

/// Bad rows may cost their neighbours a few statements that time out, but no more. On a separate machine the fleet is
/// many times as fast; in a short round it shares the machine with others.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// How long the statement of a sweep may take on a machine whose processors a whole fleet keeps busy.
const SWEEP_TAKES_MAX: Duration = Duration::from_millis(300);

/// How long a scene may go without a single completion before it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(90);

impl Scene {
    /// A new database on this server, with items and a fleet that is not yet started. The fleet gets the URL of the
    /// database as `through` maps it: the same, or that of a proxy.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn on_server(round: &Round, server: &str, cast: Cast, through: impl Fn(&str) -> String) -> Result<Scene> {
        let url = Scene::new_database(server, cast.encoding).await?;
        let fleet_url = through(&url);
        Scene::over(round, &url, &fleet_url, cast).await
    }

    /// The URL of a new database on this server.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn new_database(server: &str, encoding: &str) -> Result<String> {
        // Not from the seed: scenes share a server, and with a repeated seed the name of a running scene would be
        // taken.
        static SCENES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("faults_{}_{}", std::process::id(), SCENES.fetch_add(1, Ordering::Relaxed));
        let admin = Database::lazy(server)?;
        let create = format!("create database {name} encoding '{encoding}' locale 'C' template template0");
        admin.execute(create).await.context("the server")?;
        admin.close().await;
        Ok(with_database(server, &name))
    }

    /// A new SQLite file in the round's folder.
    ///
    /// # Errors
    /// Those of the file.
    pub async fn on_file(round: &Round, cast: Cast) -> Result<Scene> {
        Scene::on_file_in(round, &round.folder, cast).await
    }

    /// A new SQLite file in this folder.
    ///
    /// # Errors
    /// Those of the file.
    pub async fn on_file_in(round: &Round, folder: &Path, cast: Cast) -> Result<Scene> {
        let url = format!("sqlite://{}", folder.join("items.sqlite").display());
        Scene::over(round, &url, &url, cast).await
    }

    /// A scene in this database, which has no tables yet.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn over(round: &Round, url: &str, fleet_url: &str, cast: Cast) -> Result<Scene> {
        let database = Database::lazy(url)?;
        database.execute(cast.create).await.context("a table that is there before")?;
        database.prepare(url, pipeline(cast.stale_after, cast.timeout)?).await.context("preparing the tables")?;
        let assignment = Assignment {
            holder: String::new(),
            database: fleet_url.to_owned(),
            log: PathBuf::new(),
            stale_after_ms: u64::try_from(cast.stale_after.as_millis())?,
            timeout_ms: u64::try_from(cast.timeout.as_millis())?,
            grace_ms: 10_000,
            slots: cast.slots,
            threads: cast.threads,
            detached: false,
            only: None,
            through_pooler: false,
            batch_items: 0,
            hands_errors_back: false,
            away_while: None,
            kill_at: None,
        };
        let mut scene = Scene {
            database,
            fleet: Fleet::new(round.program.clone(), round.folder.clone(), assignment),
            lots: round.lots("scene"),
            cast,
            edited: Vec::new(),
            moves_by_hand: Vec::new(),
            answers: Vec::new(),
            doomed: Vec::new(),
            only_items_harm: false,
            nothing_counted: false,
            the_living_keep_their_leases: false,
            taken_back_within: None,
            no_standstill_of: None,
            given_up_at: None,
            log_of_failures_is_harmed: false,
            url: url.to_owned(),
            size: round.size,
            added: 0,
            more_items_added: 0,
            injections: Injections::default(),
            started: Instant::now(),
        };
        if scene.cast.others.iter().any(|(behaviour, count)| behaviour.kills() && *count > 0) {
            scene.fleet.expect_aborts();
        }
        let mut behaviours = vec![Behaviour::Work; scene.size.items];
        for (behaviour, count) in scene.cast.others.clone() {
            for _ in 0..count {
                let place = scene.lots.random_range(0..behaviours.len());
                behaviours[place] = behaviour;
            }
        }
        scene.add_items(0, behaviours).await?;
        Ok(scene)
    }

    /// Adds one item for each of these behaviours, numbered from this one on.
    async fn add_items(&mut self, first: usize, behaviours: Vec<Behaviour>) -> Result<()> {
        const ROWS: usize = 500;
        let mut numbered = (first..).zip(behaviours).peekable();
        while numbered.peek().is_some() {
            let rows: Vec<String> = numbered
                .by_ref()
                .take(ROWS)
                .map(|(number, behaviour)| {
                    let work_ms = self.lots.random_range(self.cast.work_ms.clone());
                    format!("('item-{number:06}', '{}', {work_ms})", behaviour.word())
                })
                .collect();
            self.database
                .execute(format!("insert into items (id, behaviour, work_ms) values {}", rows.join(", ")))
                .await?;
        }
        Ok(())
    }

    pub(crate) fn items_added(&self) -> usize {
        self.size.items + self.added
    }

    /// The fault itself added this many more items.
    pub fn added(&mut self, items: usize) {
        self.added += items;
    }

    /// Nothing keeps live workers from their sweeps here: what a dead process held must be taken back as soon as its
    /// lease is stale and one of them sweeps; each does so every tenth of `stale_after`, give or take a quarter of
    /// that. The statement takes its time too.
    pub fn expect_prompt_sweeps(&mut self) {
        if !self.size.is_long {
            return;
        }
        let longest_pause = self.cast.stale_after.mul_f64(1.25 / 10.0);
        self.taken_back_within = Some(self.cast.stale_after + longest_pause + SWEEP_TAKES_MAX);
    }

    /// Only bad rows keep good ones from being worked on, and they must not do so for long.
    pub fn expect_no_standstill(&mut self) {
        self.no_standstill_of = Some(STANDSTILL_MAX);
    }

    /// Of the present items one in this many keeps its holder busy for this long.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lengthen_every(&self, every: usize, work_ms: u32) -> Result<()> {
        let long = format!("update items set work_ms = {work_ms} where cast(substr(id, 6) as int) % {every} = 0");
        Ok(self.database.execute(long).await?)
    }

    /// Starts the fleet.
    ///
    /// # Errors
    /// A process that cannot be started.
    pub fn start(&mut self) -> Result<()> {
        self.fleet.start(self.size.processes)
    }

    /// How many injections the fault should make.
    pub fn injections_wanted(&self) -> usize {
        self.size.injections
    }

    /// How many injections it should make if each takes some seconds.
    pub fn few_injections_wanted(&self) -> usize {
        self.size.injections.div_ceil(3).max(3)
    }

    /// One process, chosen at random.
    pub fn any_process(&mut self) -> usize {
        let processes = self.fleet.len();
        self.lots.random_range(0..processes)
    }

    /// Records an injection just now.
    pub fn injected(&mut self) {
        self.injections.add(Utc::now());
    }

    /// Records harm to every process, from this time until now.
    pub fn afflicted_all_since(&mut self, from: DateTime<Utc>) {
        self.fleet.note(Affliction { holder: None, from, until: Some(Utc::now()), dead_by: None });
    }

    /// Lets the fleet work for a random time within these milliseconds, and replaces processes that ended.
    ///
    /// # Errors
    /// A process that ended without a cause of ours.
    pub async fn pause(&mut self, ms: RangeInclusive<u64>) -> Result<()> {
        let until = Instant::now() + Duration::from_millis(self.lots.random_range(ms));
        while Instant::now() < until {
            self.fleet.tend()?;
            tokio::time::sleep(Duration::from_millis(20).min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    /// How many items are not terminal; `None` if the database does not answer just now.
    pub async fn unfinished(&self) -> Option<i64> {
        self.database.number(UNFINISHED).await.ok()
    }

    /// As [`Scene::pause`]; then returns whether something is left to do, so that an injection meets a working fleet.
    /// The caller wants to inject: a fleet that has finished gets more work, within a limit, because a fault that was
    /// never injected shows nothing.
    ///
    /// # Errors
    /// As [`Scene::pause`], and those of the database.
    pub async fn is_busy_after(&mut self, ms: RangeInclusive<u64>) -> Result<bool> {
        self.pause(ms).await?;
        let busy = self.unfinished().await.is_none_or(|left| left > 0);
        let more = (self.size.items / 4).max(1);
        if busy || self.more_items_added + more > self.size.more_items_max {
            return Ok(busy);
        }
        let first = self.items_added();
        self.add_items(first, vec![Behaviour::Work; more]).await.context("more items")?;
        self.added += more;
        self.more_items_added += more;
        Ok(true)
    }

    /// Works until every item is terminal; the auditor names those that are not.
    ///
    /// # Errors
    /// A process that ended without a cause of ours.
    pub async fn drain(&mut self) -> Result<()> {
        self.drain_counted(UNFINISHED).await.map(drop)
    }

    /// Works until this query counts no items any more, or the scene is stuck. Returns how many are left.
    ///
    /// # Errors
    /// As [`Scene::drain`].
    pub async fn drain_counted(&mut self, count: &str) -> Result<i64> {
        let (mut least, mut moved_at) = (i64::MAX, Instant::now());
        loop {
            match self.database.number(count).await.ok() {
                Some(0) => return Ok(0),
                Some(left) if left < least => (least, moved_at) = (left, Instant::now()),
                _ => {}
            }
            if moved_at.elapsed() > STUCK_AFTER {
                self.given_up_at = Some(Utc::now());
                tracing::error!(left = least, "the scene does not move any more");
                return Ok(least);
            }
            self.pause(300..=300).await?;
        }
    }

    /// Ends the fleet and audits the result.
    ///
    /// # Errors
    /// A process that does not end, and evidence that cannot be read.
    pub async fn judge(mut self) -> Result<Verdict> {
        self.fleet.end().await?;
        for (_, at) in self.fleet.deaths_at_points()? {
            self.injections.add(at);
        }
        let evidence = Evidence::read(&self).await.context("reading the evidence")?;
        let findings = audit(&evidence);
        let verdict = Verdict::new(&self.injections, &evidence, findings, self.started.elapsed());
        if self.injections.is_empty() {
            bail!("nothing was injected: the scene shows nothing");
        }
        self.database.close().await;
        Ok(verdict)
    }

    /// [`Scene::drain`], then [`Scene::judge`].
    ///
    /// # Errors
    /// Theirs.
    pub async fn drain_and_judge(mut self) -> Result<Verdict> {
        self.drain().await?;
        self.judge().await
    }
}
