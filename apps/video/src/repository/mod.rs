//! The queue of videos on PostgreSQL, for programs that call it directly.

mod pool;
mod record;
mod status;

use std::sync::Arc;

use rowlock::store::postgres::PostgresStore;
use rowlock::store::{LeaseState, Limits};
use rowlock::{Claim, FencingToken, Key, Lease, Outcome, Repository, Status};
use sqlx::postgres::PgPool;
use tokio::sync::OnceCell;

use crate::library::POSTGRES_MIGRATIONS;
use crate::pipeline::{STALE_AFTER, pipeline};
use crate::{Error, Result};

pub use pool::{PoolLimits, create_pool, create_pool_with};
pub use record::VideoRecord;
pub use status::{UnknownStatus, VideoStatus};

/// How often a call that acts as the present holder looks who that is. A holder lives longer than a look takes; a
/// caller that finds a different one each time gets an error.
const HOLDER_LOOKS_MAX: u32 = 5;

/// The videos in `video_processing`, claimed and moved by Rowlock. Cheap to clone.
///
/// Claims return [`Claim`]s, whose calls are fenced: workers use those. The calls here that take a plain id are for
/// callers without a lease, an operator or a script.
///
/// The first call that uses the engine checks whether the tables are complete, and creates what is missing
/// ([`prepare`](VideoRepository::prepare)); [`get_by_id`](VideoRepository::get_by_id) reads the table as it is. The
/// engine has its own connections beside the pool's.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use rowlock_video::{VideoRepository, create_pool};
///
/// let videos = VideoRepository::new(create_pool("postgres://localhost/videos").await?);
/// videos.reset_stuck_videos().await?;
/// for claim in videos.claim_batch(10, 5).await? {
///     println!("{} is {}", claim.video_id, claim.status);
///     claim.complete().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VideoRepository {
    pool: PgPool,
    engine: Repository<PostgresStore, VideoRecord>,
    prepared: Arc<OnceCell<()>>,
}

impl VideoRepository {
    /// The videos in the database of this pool.
    pub fn new(pool: PgPool) -> Self {
        let pipeline = pipeline(STALE_AFTER).expect("the pipeline's words are valid: tests build it");
        let store = PostgresStore::from_pool(&pool, pipeline);
        Self { pool, engine: Repository::new(store), prepared: Arc::default() }
    }

    /// The given pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Applies the migrations, and creates what the engine needs besides. May be repeated.
    ///
    /// # Errors
    /// [`Error::Migration`], and those of the engine.
    pub async fn prepare(&self) -> Result<()> {
        POSTGRES_MIGRATIONS.run(&self.pool).await?;
        Ok(self.engine.prepare().await?)
    }

    /// The engine, over tables with which it can work.
    async fn engine(&self) -> Result<&Repository<PostgresStore, VideoRecord>> {
        let prepare = || async {
            // Checked first, so that a user who may not create tables can work with existing ones.
            if self.engine.inspect().await?.is_empty() { Ok(()) } else { self.prepare().await }
        };
        self.prepared.get_or_try_init(prepare).await?;
        Ok(&self.engine)
    }

    /// The video with this id. The query is checked against the schema when it is compiled.
    ///
    /// Its statement is prepared by name, so that behind PgBouncer in transaction mode it needs a direct connection.
    ///
    /// # Errors
    /// [`Error::Database`]; also for a row whose status is not a word of a [`VideoStatus`].
    pub async fn get_by_id(&self, video_id: &str) -> Result<Option<VideoRecord>> {
        let query = sqlx::query_as!(
            VideoRecord,
            r#"select video_id, status as "status: VideoStatus", retry_count, retry_after, error_message,
                      pc_heartbeat, created_at, updated_at
               from video_processing
               where video_id = $1"#,
            video_id
        );
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// Takes up to `count` videos that are due: those ready for EMBEDDING first, then those ready for EXTRACTION, each
    /// by age, or by due time once they were retried. Concurrent calls never get the same video.
    ///
    /// A video whose retry count has reached `max_retries` is skipped; nothing is written to it. The finishing calls of
    /// the claims use the pipeline's own limit of 5.
    ///
    /// # Errors
    /// A negative `count`, and those of the engine.
    pub async fn claim_batch(&self, count: i32, max_retries: i32) -> Result<Vec<Claim<VideoRecord>>> {
        let engine = self.engine().await?;
        let mut claiming = engine.claim_params(engine.pipeline().stage_ids(), limit(count)?)?;
        claiming.limits.max_retries = budget(max_retries);
        claiming.leave_exhausted = true;
        let claims = engine.claim_with(claiming).await?;
        for (key, reason) in claims.refused.iter().chain(&claims.undecodable) {
            tracing::warn!(%key, reason, "a video could not be claimed");
        }
        Ok(claims.items)
    }

    /// Puts a video into a ready or terminal state, whoever holds it; that holder's lease ends. A given error replaces
    /// the stored one, `None` keeps it. False if there is no such video.
    ///
    /// For callers without a lease. Workers use [`Claim::complete`], [`Claim::fail`] and [`Claim::retry`], which are
    /// fenced.
    ///
    /// # Errors
    /// An in-progress status, which only a claim gives; a row whose present word is unknown; those of the engine.
    pub async fn update_status(&self, video_id: &str, status: VideoStatus, error: Option<&str>) -> Result<bool> {
        let engine = self.engine().await?;
        let to = engine.pipeline().status(status.as_str()).expect("the words are those of the pipeline: tested");
        match engine.set(video_id, to, error).await {
            Ok(_) => Ok(true),
            Err(rowlock::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`update_status`](Self::update_status) to `SUCCEEDED`. A worker uses [`Claim::complete`].
    ///
    /// # Errors
    /// As [`update_status`](Self::update_status).
    pub async fn mark_succeeded(&self, video_id: &str) -> Result<bool> {
        self.update_status(video_id, VideoStatus::Succeeded, None).await
    }

    /// As [`update_status`](Self::update_status) to `FAILED`. A worker uses [`Claim::fail`].
    ///
    /// # Errors
    /// As [`update_status`](Self::update_status).
    pub async fn mark_failed(&self, video_id: &str, error: &str) -> Result<bool> {
        self.update_status(video_id, VideoStatus::Failed, Some(error)).await
    }

    /// Counts a failure of a video in progress, as its present holder. True if it is ready again, after a delay of
    /// min(60·2^n, 3600) s ± 25 % and at least 60 s, where n is the retry count after this failure. False if the count
    /// has reached `max_retries`: then it is `FAILED` with `Max retries (N) exceeded: message`.
    ///
    /// Unfenced: it counts against the present holder of the video. A worker uses [`Claim::retry`].
    ///
    /// # Errors
    /// [`Error::NotInProgress`] if the video is missing or not held, and those of the engine. After an error that [may
    /// have been applied](rowlock::Error::may_have_been_applied), look before you repeat: the failure could count
    /// twice.
    pub async fn handle_retryable_error(&self, video_id: &str, message: &str, max_retries: i32) -> Result<bool> {
        let engine = self.engine().await?;
        let limits = Limits { max_retries: budget(max_retries), max_resets: engine.pipeline().max_resets() };
        for _ in 0..HOLDER_LOOKS_MAX {
            let lease = self.present_lease(engine, video_id).await?;
            let outcome = Outcome::Retry { error: message.to_owned(), delay: None };
            match engine.finish_lease(lease, outcome, limits).await {
                Ok(settled) => return Ok(settled.to != Status::Failed),
                Err(rowlock::Error::LeaseLost { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(rowlock::Error::LeaseLost { key: video_id.into() }.into())
    }

    /// Renews the lease of a video's present holder. False unless the video is in progress.
    ///
    /// Unfenced: it renews any present holder's lease. A worker uses [`Claim::renew`]; Rowlock's `Worker` renews by
    /// itself.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn update_heartbeat(&self, video_id: &str) -> Result<bool> {
        let engine = self.engine().await?;
        for _ in 0..HOLDER_LOOKS_MAX {
            let lease = match self.present_lease(engine, video_id).await {
                Ok(lease) => lease,
                Err(Error::NotInProgress { .. }) => return Ok(false),
                Err(error) => return Err(error),
            };
            match engine.renew_lease(lease).await? {
                // A locked row is being written, and will be fresh or ended afterwards.
                LeaseState::Held | LeaseState::Busy | LeaseState::NotRenewed => return Ok(true),
                LeaseState::Cancelled => return Ok(false),
                // Lost or refused, or a state that this program does not know: who holds it now?
                _ => {}
            }
        }
        Ok(false)
    }

    /// The lease under which the video is in progress now.
    async fn present_lease(&self, engine: &Repository<PostgresStore, VideoRecord>, video_id: &str) -> Result<Lease> {
        let key = Key::from(video_id);
        let not_in_progress =
            |found: &str| Error::NotInProgress { video_id: video_id.to_owned(), found: found.to_owned() };
        for _ in 0..HOLDER_LOOKS_MAX {
            let Some(item) = engine.get_row(key.clone()).await? else { return Err(not_in_progress("missing")) };
            let Some(Status::InProgress(stage)) = item.status else { return Err(not_in_progress(&item.word)) };
            if let Some(token) = item.token {
                return Ok(Lease { key, token: FencingToken::from(token), stage });
            }
            self.give_token(video_id, &item.word).await?;
        }
        Err(rowlock::Error::LeaseLost { key }.into())
    }

    /// Gives a token to a video that was put in progress by hand, and so has none: otherwise fencing has nothing to
    /// compare with.
    async fn give_token(&self, video_id: &str, word: &str) -> Result<()> {
        let query = sqlx::query!(
            "update video_processing set claim_token = $3 where video_id = $1 and status = $2 and claim_token is null",
            video_id,
            word,
            FencingToken::draw().as_i64()
        );
        query.execute(&self.pool).await?;
        Ok(())
    }

    /// Takes back the videos in progress whose heartbeat is missing or older than 5 minutes: ready again and due at
    /// once, or `FAILED` if that happened to them too often. Returns how many. Call it at start-up too; Rowlock's
    /// `Worker` does.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn reset_stuck_videos(&self) -> Result<u64> {
        let swept = self.engine().await?.sweep().await?;
        for (key, reason) in &swept.refused {
            tracing::warn!(%key, reason, "a video could not be taken back");
        }
        Ok(swept.items.len() as u64)
    }

    /// What [`claim_batch`](Self::claim_batch) would take now with the pipeline's limit of retries, without the
    /// excluded videos. Writes nothing. A row that does not decode is left out, with a warning in the log.
    ///
    /// # Errors
    /// A negative `count`, and those of the engine.
    pub async fn fetch_test_batch(&self, count: i32, exclude_ids: &[String]) -> Result<Vec<VideoRecord>> {
        let engine = self.engine().await?;
        let mut claiming = engine.claim_params(engine.pipeline().stage_ids(), limit(count)?)?;
        claiming.leave_exhausted = true;
        claiming.except = exclude_ids.iter().map(|id| Key::from(id.as_str())).collect();
        let preview = engine.preview_with(&claiming).await?;
        for (key, reason) in &preview.undecodable {
            tracing::warn!(%key, reason, "a video is left out: its row cannot be read");
        }
        Ok(preview.items.into_iter().map(|item| item.record).collect())
    }
}

/// The contract of this interface has a signed count.
fn limit(count: i32) -> rowlock::Result<usize> {
    usize::try_from(count).map_err(|_| rowlock::Error::InvalidArgument {
        argument: "count",
        value: count.to_string(),
        rule: "a batch has zero items or more".to_owned(),
    })
}

/// The contract of this interface has a signed limit. A negative one is spent from the start, as zero is.
fn budget(max_retries: i32) -> u32 {
    u32::try_from(max_retries).unwrap_or(0)
}
