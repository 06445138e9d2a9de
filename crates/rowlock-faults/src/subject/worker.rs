//! The worker's process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Claim, Context, Error, Failure, Handled, Holder, Outcome, Repository, Worker};
use serde::{Deserialize, Serialize};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::log::{Event, Log};
use super::points::{COMMIT, KillAt, Point, die, dies_after_sending, pass};
use super::{Behaviour, Effects, STAGES, pipeline};

/// The assignment of a worker's process: one JSON argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignment {
    /// The name under which it claims.
    pub holder: String,
    /// The database.
    pub database: String,
    /// The file for its log.
    pub log: PathBuf,
    /// The age from which on a lease is stale.
    pub stale_after_ms: u64,
    /// The longest run of a handler.
    pub timeout_ms: u64,
    /// How long handlers may go on after SIGTERM.
    pub grace_ms: u64,
    /// Handlers of each stage that run at once.
    pub slots: usize,
    /// Threads for handlers.
    pub threads: usize,
    /// Handlers complete their stage in separate tasks, which are never stopped: only the fence protects from late
    /// completions.
    pub detached: bool,
    /// Works only on this stage, if it is set.
    pub only: Option<String>,
    /// The database's URL is that of a pooler in transaction mode.
    pub through_pooler: bool,
    /// The handler of the stage without an effect takes up to this many items at once; 0 means one by one, with the
    /// other kind of handler.
    pub batch_items: usize,
    /// Handlers return a database error with `?` at once, as most users' handlers do, and do not try again themselves.
    pub hands_errors_back: bool,
    /// While this file exists, a service is away that the handler of the stage without an effect needs.
    pub away_while: Option<PathBuf>,
    /// Where it dies, if it does.
    pub kill_at: Option<KillAt>,
}

/// The columns of an item that its handler reads.
#[derive(Debug, Clone)]
struct Item {
    behaviour: String,
    work_ms: i32,
}

/// Set once, before the first claim: decoding has no other way to know where to die.
static KILL_AT: std::sync::OnceLock<(Option<KillAt>, Arc<Log>)> = std::sync::OnceLock::new();

impl<'r, Row> sqlx::FromRow<'r, Row> for Item
where
    Row: sqlx::Row,
    &'static str: sqlx::ColumnIndex<Row>,
    String: sqlx::Decode<'r, Row::Database> + sqlx::Type<Row::Database>,
    i32: sqlx::Decode<'r, Row::Database> + sqlx::Type<Row::Database>,
{
    fn from_row(row: &'r Row) -> sqlx::Result<Item> {
        if let Some((kill_at, log)) = KILL_AT.get() {
            pass(*kill_at, Point::AfterClaim, log);
        }
        Ok(Item { behaviour: row.try_get("behaviour")?, work_ms: row.try_get("work_ms")? })
    }
}

/// Works until it is asked to stop.
///
/// # Errors
/// A database on which the worker cannot work at all.
pub fn work(assignment: &Assignment) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(assignment.threads)
        .enable_all()
        .build()
        .context("the runtime of the handlers")?;
    let log = Arc::new(Log::create(&assignment.log)?);
    start_tracing(&log);
    let first = KILL_AT.set((assignment.kill_at, Arc::clone(&log)));
    debug_assert!(first.is_ok(), "one assignment a process");
    let ended = runtime.block_on(connect_and_work(assignment, &log));
    // A handler that blocks its thread must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn connect_and_work(assignment: &Assignment, log: &Arc<Log>) -> Result<()> {
    let pipeline =
        pipeline(Duration::from_millis(assignment.stale_after_ms), Duration::from_millis(assignment.timeout_ms))?;
    if assignment.database.starts_with("sqlite:") {
        let store = SqliteStore::connect(&assignment.database, pipeline).await?;
        return work_on(store, assignment, log).await;
    }
    let options = assignment.database.parse().context("the database's URL")?;
    let store = if assignment.through_pooler {
        PostgresStore::through_pooler(options, pipeline)
    } else {
        PostgresStore::with_options(options, pipeline)
    };
    work_on(store, assignment, log).await
}

async fn work_on<S: Effects>(store: S, assignment: &Assignment, log: &Arc<Log>) -> Result<()>
where
    Item: rowlock::Record<S>,
{
    let repository: Repository<S, Item> = Repository::new(store).with_holder(Holder::named(assignment.holder.clone()));
    log.write(&Event::Started { holder: assignment.holder.clone(), wall_clock: chrono::Utc::now() });
    let grace = Duration::from_millis(assignment.grace_ms);
    let mut worker = Worker::new(repository).shutdown_on_signals().grace(grace);
    for stage in STAGES.into_iter().filter(|stage| assignment.only.as_deref().is_none_or(|only| only == *stage)) {
        let desk = Arc::new(Desk { log: Arc::clone(log), assignment: assignment.clone() });
        worker = worker.concurrency(stage, assignment.slots);
        worker = match (super::has_effect(stage), assignment.batch_items) {
            (true, _) => worker.handle(stage, move |context, claim| Arc::clone(&desk).complete(context, claim)),
            (false, 0) => worker.handle(stage, move |_, claim| Arc::clone(&desk).behave(claim)),
            (false, items) => {
                worker.handle_batch(stage, items, move |_, claims| Arc::clone(&desk).behave_one_by_one(claims))
            }
        };
    }
    let report = worker.run().await;
    if let Ok(report) = &report {
        log.write(&Event::ended(report));
    }
    report.map(drop).context("the worker")
}

/// State for the handlers.
struct Desk {
    log: Arc<Log>,
    assignment: Assignment,
}

impl Desk {
    /// The handler of the stages with an effect.
    async fn complete<S: Effects>(
        self: Arc<Self>,
        context: Context<S, Item>,
        claim: Claim<Item>,
    ) -> Result<Handled, Failure> {
        self.log.write(&Event::run(claim.lease()));
        pass(self.assignment.kill_at, Point::Running, &self.log);
        if self.assignment.detached {
            // The worker drops its handle when it stops the handler; that does not end the task.
            return Ok(tokio::spawn(self.complete_until_settled(context, claim)).await?);
        }
        if self.assignment.hands_errors_back {
            return self.complete_or_hand_back(&context, claim).await;
        }
        Ok(self.complete_until_settled(context, claim).await)
    }

    /// Tries once. The worker judges the database's error: the log has no failure of the handler's own.
    async fn complete_or_hand_back<S: Effects>(
        &self,
        context: &Context<S, Item>,
        claim: Claim<Item>,
    ) -> Result<Handled, Failure> {
        tokio::time::sleep(work_time(&claim)).await;
        let lease = claim.lease().clone();
        let mut transaction = context.begin().await?;
        S::write_effect(&mut transaction, &lease, context.holder().as_str(), Duration::ZERO).await?;
        match claim.complete_in(transaction).await {
            Ok(settled) => {
                self.log.write(&Event::acknowledged(&lease, context.token().is_cancelled()));
                Ok(settled.into())
            }
            Err(failed) => {
                self.log.write(&Event::not_acknowledged(&lease, failed.error()));
                Err(failed.into())
            }
        }
    }

    /// Tries until it is settled, or its lease is lost.
    async fn complete_until_settled<S: Effects>(
        self: Arc<Self>,
        context: Context<S, Item>,
        mut claim: Claim<Item>,
    ) -> Handled {
        tokio::time::sleep(work_time(&claim)).await;
        loop {
            match self.complete_once(&context, claim).await {
                Ok(handled) => return handled,
                Err(again) => claim = again,
            }
            // A database that is away comes back.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ok if nothing more can be done; the claim if the same may be tried again.
    async fn complete_once<S: Effects>(
        &self,
        context: &Context<S, Item>,
        claim: Claim<Item>,
    ) -> Result<Handled, Claim<Item>> {
        let lease = claim.lease().clone();
        let dies = dies_after_sending(self.assignment.kill_at);
        let commit = if dies { COMMIT } else { Duration::ZERO };
        let Ok(mut transaction) = context.begin().await else { return Err(claim) };
        let worker = context.holder().as_str();
        if let Err(error) = S::write_effect(&mut transaction, &lease, worker, commit).await {
            tracing::warn!(%error, key = %lease.key, "the effect could not be written");
            return Err(claim);
        }
        pass(self.assignment.kill_at, Point::BeforeFinish, &self.log);
        let finish = claim.complete_in(transaction);
        let answer = if dies {
            tokio::select! {
                answer = finish => answer,
                () = tokio::time::sleep(COMMIT / 2) => die(Point::FinishSent, &self.log),
            }
        } else {
            finish.await
        };
        match answer {
            Ok(settled) => {
                self.log.write(&Event::acknowledged(&lease, context.token().is_cancelled()));
                Ok(settled.into())
            }
            Err(failed) => {
                self.log.write(&Event::not_acknowledged(&lease, failed.error()));
                match failed.into_parts() {
                    (Error::LeaseLost { .. } | Error::OutcomeUnknown { .. } | Error::Refused { .. }, _) | (_, None) => {
                        Ok(Outcome::Release.into())
                    }
                    (_, Some(claim)) => Err(claim),
                }
            }
        }
    }

    /// The handler of the stage whose outcome the worker writes, for a batch.
    async fn behave_one_by_one(self: Arc<Self>, claims: Vec<Claim<Item>>) -> Vec<Result<Handled, Failure>> {
        let mut results = Vec::with_capacity(claims.len());
        for claim in claims {
            results.push(Arc::clone(&self).behave(claim).await);
        }
        results
    }

    /// The handler of the stage whose outcome the worker writes.
    async fn behave(self: Arc<Self>, claim: Claim<Item>) -> Result<Handled, Failure> {
        self.log.write(&Event::run(claim.lease()));
        pass(self.assignment.kill_at, Point::Running, &self.log);
        if self.assignment.away_while.as_deref().is_some_and(Path::exists) {
            return Err(Failure::outage("a service is away"));
        }
        let behaviour = Behaviour::of_word(&claim.behaviour)
            .ok_or_else(|| Failure::permanent(format!("no handler behaves like {:?}", claim.behaviour)))?;
        match behaviour {
            Behaviour::Work => tokio::time::sleep(work_time(&claim)).await,
            Behaviour::Burn => burn(work_time(&claim)),
            Behaviour::Abort => std::process::abort(),
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Block => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            Behaviour::Hog => hog(),
            Behaviour::Panic => {
                self.log.write(&Event::failing(claim.lease()));
                panic!("as the item asked for")
            }
            Behaviour::Fail => {
                self.log.write(&Event::failing(claim.lease()));
                // With characters that some databases cannot hold.
                return Err(Failure::retryable("as the item asked for → 🦀"));
            }
            Behaviour::FailForGood => {
                self.log.write(&Event::failing(claim.lease()));
                return Err(Failure::permanent("as the item asked for"));
            }
        }
        Ok(().into())
    }
}

fn work_time(item: &Item) -> Duration {
    Duration::from_millis(u64::try_from(item.work_ms).unwrap_or(0))
}

/// Keeps a processor busy.
fn burn(how_long: Duration) {
    let until = Instant::now() + how_long;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Takes memory until none is left: the process has a limit of address space, and dies of it.
fn hog() -> ! {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(Vec::with_capacity(16 << 20));
        std::hint::black_box(&taken);
    }
}

/// Prints the library's messages to standard error, and logs how many items each claim asked for and got.
fn start_tracing(log: &Arc<Log>) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,rowlock=info"));
    let said = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr).with_filter(filter);
    // RUST_LOG decides what people read. It must not switch off the events that the auditor needs.
    let is_claim = tracing_subscriber::filter::filter_fn(|span| span.is_span() && span.name() == "claim");
    let sizes = ClaimSizes { log: Arc::clone(log) }.with_filter(is_claim);
    tracing_subscriber::registry().with(said).with(sizes).init();
}

/// Writes the sizes of claims to the log, from the spans that the library opens around them.
struct ClaimSizes {
    log: Arc<Log>,
}

/// The fields of a claim's span.
#[derive(Default)]
struct Sizes {
    limit: Option<u64>,
    claimed: Option<u64>,
}

impl tracing::field::Visit for Sizes {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        match field.name() {
            "limit_items" => self.limit = Some(value),
            "claimed_items" => self.claimed = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl<S> Layer<S> for ClaimSizes
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: tracing_subscriber::layer::Context<'_, S>,
    ) {
        if let Some(span) = context.span(id)
            && span.name() == "claim"
        {
            let mut sizes = Sizes::default();
            attributes.record(&mut sizes);
            span.extensions_mut().insert(sizes);
        }
    }

    fn on_record(
        &self,
        id: &tracing::span::Id,
        values: &tracing::span::Record<'_>,
        context: tracing_subscriber::layer::Context<'_, S>,
    ) {
        if let Some(span) = context.span(id)
            && let Some(sizes) = span.extensions_mut().get_mut::<Sizes>()
        {
            values.record(sizes);
        }
    }

    fn on_close(&self, id: tracing::span::Id, context: tracing_subscriber::layer::Context<'_, S>) {
        if let Some(span) = context.span(&id)
            && let Some(Sizes { limit: Some(limit), claimed: Some(claimed) }) = span.extensions().get::<Sizes>()
        {
            self.log.write(&Event::Claimed { limit: *limit, claimed: *claimed });
        }
    }
}
