//! A scene: one database with items in it and a fleet that works on them, and what was done to them.

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
    /// Items that may be added to a scene whose fleet is done before the fault.
    pub more_items_max: usize,
    /// Injections of one fault.
    pub injections: usize,
    /// The long round, of `make faults`: the scene has the machine for itself, so that being late is a violation.
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
    /// Everything that is drawn by lot comes from it.
    pub seed: u64,
    /// How large.
    pub size: Size,
    /// The suite's own command.
    pub program: PathBuf,
    /// A folder for logs.
    pub folder: PathBuf,
}

impl Round {
    /// The same for one of several scenes of a fault, with a folder and lots of its own.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn part(&self, name: &str) -> Result<Round> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("the folder {}", folder.display()))?;
        Ok(Round { seed: self.lots(name).random(), folder, program: self.program.clone(), ..*self })
    }

    /// Numbers drawn by lot, the same for the same seed and purpose.
    pub fn lots(&self, purpose: &str) -> StdRng {
        let mixed = purpose.bytes().fold(self.seed, |mix, byte| {
            (mix ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) // FNV-1a
        });
        StdRng::seed_from_u64(mixed)
    }
}

/// What a scene starts with.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Age from which on a lease is stale.
    pub stale_after: Duration,
    /// Longest run of a handler.
    pub timeout: Duration,
    /// Handlers of each stage at once, in each process.
    pub slots: usize,
    /// Threads that run handlers, in each process.
    pub threads: usize,
    /// How long a handler works.
    pub work_ms: RangeInclusive<i32>,
    /// Items with another behaviour than `work`: how many of each.
    pub others: Vec<(Behaviour, usize)>,
    /// The encoding of a database on a server, as PostgreSQL names it.
    pub encoding: &'static str,
    /// What is run before the table is prepared; nothing if `prepare` is to make it.
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
    /// The suite's own connections; they go past any proxy.
    pub database: Database,
    /// The processes.
    pub fleet: Fleet,
    /// Numbers drawn by lot.
    pub lots: StdRng,
    /// What it started with.
    pub cast: Cast,
    /// Items that somebody edits by hand or deletes: their moves may be any.
    pub edited: Vec<String>,
    /// The numbers of the moves that somebody made by hand, whatever they look like.
    pub moves_by_hand: Vec<i64>,
    /// What operators' verbs answered.
    pub answers: Vec<Answer>,
    /// Items that must end `FAILED`, beside those whose behaviour says so.
    pub doomed: Vec<String>,
    /// Nothing is done to the workers but by the items themselves.
    pub only_items_harm: bool,
    /// No retry and no reset may be counted.
    pub nothing_counted: bool,
    /// The database answers all the time: what is taken back was a dead or stopped holder's, or the harm is done.
    pub the_living_keep_their_leases: bool,
    /// What a dead process held must be taken back within this time.
    pub taken_back_within: Option<Duration>,
    /// From the first completion to the last one no longer than this may pass without one: bad rows hold nobody else up.
    pub no_standstill_of: Option<Duration>,
    /// When nothing had moved for so long that nobody waited any more.
    pub given_up_at: Option<DateTime<Utc>>,
    /// The log of failures is harmed, and need not name each item that failed.
    pub log_of_failures_is_harmed: bool,
    /// The database's URL, past any proxy.
    pub url: String,
    size: Size,
    added: usize,
    more_items_added: usize,
    injections: Injections,
    started: Instant,
}

/// How many items are not terminal.
const UNFINISHED: &str = "select count(*) from items where status not in ('SUCCEEDED', 'FAILED', 'CANCELLED')";

/// Bad rows may cost their neighbours a few statements that run into their time-out, and not more. The fleet is many times
/// as fast on a machine of its own; a short round shares it with others.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// How long a scene may take without a single completion before it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(90);

impl Scene {
    /// A new database on this server, with items and a fleet that is not yet started. The fleet is given the URL of
    /// the database as `through` maps it: the same, or that of a proxy.
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
        // Not by lot: scenes share a server, and a seed that is given again would take a living scene's name.
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
            advances_directly: false,
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

    /// Adds one item for each of these behaviours; their numbers start with this one.
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

    /// So many more items were added by the fault itself.
    pub fn added(&mut self, items: usize) {
        self.added += items;
    }

    /// Nothing keeps the living from their sweeps here: what a dead process held must be taken back as soon as its lease
    /// is stale and one of them sweeps, which each does every tenth of `stale_after`, give or take a quarter of that.
    pub fn expect_prompt_sweeps(&mut self) {
        if !self.size.is_long {
            return;
        }
        let longest_pause = self.cast.stale_after.mul_f64(1.25 / 10.0);
        self.taken_back_within = Some(self.cast.stale_after + longest_pause);
    }

    /// Bad rows are all that keeps the good ones from being worked on, and must not do so for long.
    pub fn expect_no_standstill(&mut self) {
        self.no_standstill_of = Some(STANDSTILL_MAX);
    }

    /// Every so-manieth of the items that are there keeps its holder busy for so long.
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

    /// How many injections the fault is to make.
    pub fn injections_wanted(&self) -> usize {
        self.size.injections
    }

    /// How many it is to make if each takes some seconds.
    pub fn few_injections_wanted(&self) -> usize {
        self.size.injections.div_ceil(3).max(3)
    }

    /// One process, drawn by lot.
    pub fn any_process(&mut self) -> usize {
        let processes = self.fleet.len();
        self.lots.random_range(0..processes)
    }

    /// Something bad was done just now.
    pub fn injected(&mut self) {
        self.injections.add(Utc::now());
    }

    /// Something bad was done to every process, from then until now.
    pub fn afflicted_all_since(&mut self, from: DateTime<Utc>) {
        self.fleet.note(Affliction { holder: None, from, until: Some(Utc::now()), dead_by: None });
    }

    /// Lets the fleet work for a time drawn from these milliseconds, and looks after it.
    ///
    /// # Errors
    /// A process that ended for no reason of ours.
    pub async fn pause(&mut self, ms: RangeInclusive<u64>) -> Result<()> {
        let until = Instant::now() + Duration::from_millis(self.lots.random_range(ms));
        while Instant::now() < until {
            self.fleet.tend()?;
            tokio::time::sleep(Duration::from_millis(20).min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    /// How many items are not terminal; none if the database does not answer just now.
    pub async fn unfinished(&self) -> Option<i64> {
        self.database.number(UNFINISHED).await.ok()
    }

    /// As [`Scene::pause`]; then, whether something is left to do, so that an injection meets somebody at work. Whoever
    /// asks wants to inject: a fleet that is done gets more work, within a limit. A fault that never came shows nothing.
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

    /// Works until every item is terminal; the auditor will name those that are not.
    ///
    /// # Errors
    /// A process that ended for no reason of ours.
    pub async fn drain(&mut self) -> Result<()> {
        self.drain_counted(UNFINISHED).await.map(drop)
    }

    /// Works until this query counts no item any more, or the scene is stuck. Returns how many are left.
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

    /// Ends the fleet and audits what is left.
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
