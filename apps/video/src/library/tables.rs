//! The application's tables in PostgreSQL and in SQLite.
//!
//! The statements use only what both databases read in the same way, so that each is written once; sqlx's types differ
//! for the two, and so the code around the statements is a macro. The queue, where the databases really differ, belongs
//! to the engine.

use std::time::Duration;

use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

use super::{EmbeddedVideo, Extracted, Insertion, Known, Library, Transaction, VideoReport, damaged};
use crate::embedding::Embedding;
use crate::media::{FoundVideo, Frame, path_from_text, path_to_text};
use crate::pipeline::pipeline;
use crate::{Error, Result, create_pool};

/// The tables on PostgreSQL. Ordinary migrations: `sqlx migrate run` may apply them as well.
pub(crate) static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// The tables on SQLite.
static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How often migrating is tried: on SQLite two processes that meet a new file at once may get in each other's way.
const MIGRATION_ATTEMPTS_MAX: u32 = 5;

/// The wait before another attempt.
const MIGRATION_WAIT: Duration = Duration::from_millis(200);

/// Commands read a few rows at a time, and handlers their frames.
const SQLITE_CONNECTIONS_MAX: u32 = 4;

const IS_MIGRATED: &str = "select count(d.note), count(p.root) from video_processing p
left join video_details d on d.video_id = p.video_id
left join video_embeddings e on e.video_id = p.video_id
where p.video_id = ''";

const INSERT: &str = "insert into video_processing (video_id, path, fingerprint, root)
values ($1, $2, $3, $4)
on conflict (video_id) do nothing";

const BY_PATH: &str =
    "select video_id, path, fingerprint, root from video_processing where path = $1 order by video_id limit 1";

const BY_ID: &str = "select video_id, path, fingerprint, root from video_processing where video_id = $1";

const UPDATE_VERSION: &str = "update video_processing set path = $2, fingerprint = $3, root = $4 where video_id = $1";

const ADD_ROOT: &str = "update video_processing set root = $2 where video_id = $1 and root is null";

const DELETE_FRAMES: &str = "delete from video_frames where video_id = $1";

const DELETE_DETAILS: &str = "delete from video_details where video_id = $1";

const DELETE_EMBEDDING: &str = "delete from video_embeddings where video_id = $1";

const WRITE_DETAILS: &str = "insert into video_details (
  video_id, duration_secs, width_px, height_px, codec, frame_rate, has_sound, frame_count, thumbnail_jpeg,
  extraction_secs, note
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (video_id) do update set
  duration_secs = excluded.duration_secs,
  width_px = excluded.width_px,
  height_px = excluded.height_px,
  codec = excluded.codec,
  frame_rate = excluded.frame_rate,
  has_sound = excluded.has_sound,
  frame_count = excluded.frame_count,
  thumbnail_jpeg = excluded.thumbnail_jpeg,
  extraction_secs = excluded.extraction_secs,
  note = excluded.note";

const WRITE_FRAME: &str = "insert into video_frames (video_id, frame, rgb24) values ($1, $2, $3)";

const FRAMES: &str = "select rgb24 from video_frames where video_id = $1 order by frame";

const WRITE_EMBEDDING: &str = "insert into video_embeddings (video_id, vector, embedding_secs)
values ($1, $2, $3)
on conflict (video_id) do update set
  vector = excluded.vector,
  embedding_secs = excluded.embedding_secs";

const EMBEDDINGS: &str = "select e.video_id, p.path, e.vector
from video_embeddings e
join video_processing p on p.video_id = e.video_id
order by e.video_id";

const REPORTS: &str = "select
  p.video_id, p.path, p.status, p.retry_count, p.reset_count, p.error_message as error,
  d.duration_secs, d.width_px, d.height_px, d.codec, d.frame_rate, d.has_sound, d.frame_count, d.extraction_secs,
  d.note, e.embedding_secs
from video_processing p
left join video_details d on d.video_id = p.video_id
left join video_embeddings e on e.video_id = p.video_id
where (cast($1 as text) is null or p.video_id = $1)
  and (cast($2 as text) is null or p.status = $2)
  and p.video_id > $3
order by p.video_id
limit $4";

/// The application's tables on a PostgreSQL server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PostgresLibrary {
    store: PostgresStore,
    pool: PgPool,
}

impl PostgresLibrary {
    /// The library in the database of this URL.
    ///
    /// # Errors
    /// [`Error::Connect`], and a `stale_after` that no pipeline can have.
    pub async fn open(url: &str, stale_after: Duration) -> Result<Self> {
        let pipeline = pipeline(stale_after)?;
        let pool = create_pool(url).await?;
        Ok(Self { store: PostgresStore::from_pool(&pool, pipeline), pool })
    }
}

/// The application's tables in an SQLite file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SqliteLibrary {
    store: SqliteStore,
    pool: SqlitePool,
}

impl SqliteLibrary {
    /// The library in the file of this URL, `sqlite://FILE`; `create` creates the file if it does not exist.
    ///
    /// # Errors
    /// [`Error::Connect`], those of the engine, and a `stale_after` that no pipeline can have.
    pub async fn open(url: &str, create: bool, stale_after: Duration) -> Result<Self> {
        let pipeline = pipeline(stale_after)?;
        let connect = |source| Error::Connect { source };
        let options: SqliteConnectOptions = url.parse().map_err(connect)?;
        let options = options.create_if_missing(create).journal_mode(SqliteJournalMode::Wal);
        let store = SqliteStore::with_options(options.clone(), pipeline).await?;
        let pool = SqlitePoolOptions::new().max_connections(SQLITE_CONNECTIONS_MAX).connect_with(options);
        Ok(Self { store, pool: pool.await.map_err(connect)? })
    }
}

/// A row of the queue: id, path, version of the file, the named folder.
type VersionRow = (String, Option<String>, Option<String>, Option<String>);

/// How an existing row relates to a file. A row without a path was created by another program under the file's id.
fn known(video: &FoundVideo, row: Option<&VersionRow>) -> Insertion {
    let Some((video_id, path, version, _)) = row else {
        // It was deleted between two statements.
        return Insertion { video_id: video.video_id.clone(), known: Known::Same };
    };
    let is_the_same = |path: &String| {
        let path = path_from_text(path);
        path == video.path || video.other_paths.contains(&path)
    };
    let known = match path {
        Some(by) if !is_the_same(by) => Known::Taken { by: by.clone() },
        _ if version.as_deref() == Some(video.fingerprint.as_str()) => Known::Same,
        _ => Known::Changed,
    };
    Insertion { video_id: video_id.clone(), known }
}

macro_rules! impl_library {
    ($library:ident, $store:ident, $migrations:ident) => {
        impl Library for $library {
            type Store = $store;

            fn store(&self) -> &$store {
                &self.store
            }

            async fn migrate(&self) -> Result<()> {
                let mut attempt = 1;
                while let Err(error) = $migrations.run(&self.pool).await {
                    if attempt == MIGRATION_ATTEMPTS_MAX {
                        return Err(error.into());
                    }
                    attempt += 1;
                    tokio::time::sleep(MIGRATION_WAIT).await;
                }
                Ok(())
            }

            async fn is_migrated(&self) -> Result<bool> {
                match sqlx::query(IS_MIGRATED).execute(&self.pool).await {
                    Ok(_) => Ok(true),
                    Err(sqlx::Error::Database(_)) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }

            async fn insert(&self, videos: &[FoundVideo]) -> Result<Vec<Insertion>> {
                let mut transaction = self.pool.begin().await?;
                let mut answers = Vec::with_capacity(videos.len());
                for video in videos {
                    let mut row: Option<VersionRow> = None;
                    for path in std::iter::once(&video.path).chain(&video.other_paths) {
                        let by_path = sqlx::query_as(BY_PATH).bind(path_to_text(path));
                        row = by_path.fetch_optional(&mut *transaction).await?;
                        if row.is_some() {
                            break;
                        }
                    }
                    if row.is_none() {
                        let insert = sqlx::query(INSERT)
                            .bind(&video.video_id)
                            .bind(path_to_text(&video.path))
                            .bind(video.fingerprint.as_str())
                            .bind(video.root.as_deref().map(path_to_text));
                        if insert.execute(&mut *transaction).await?.rows_affected() == 1 {
                            answers.push(Insertion { video_id: video.video_id.clone(), known: Known::New });
                            continue;
                        }
                        let by_id = sqlx::query_as(BY_ID).bind(&video.video_id);
                        row = by_id.fetch_optional(&mut *transaction).await?;
                    }
                    let insertion = known(video, row.as_ref());
                    // A row of an earlier version, or a file that was named directly.
                    if insertion.known == Known::Same
                        && row.is_some_and(|(_, _, _, root)| root.is_none())
                        && let Some(root) = &video.root
                    {
                        let add_root = sqlx::query(ADD_ROOT).bind(&insertion.video_id).bind(path_to_text(root));
                        add_root.execute(&mut *transaction).await?;
                    }
                    answers.push(insertion);
                }
                transaction.commit().await?;
                Ok(answers)
            }

            async fn delete_results(&self, video_id: &str) -> Result<()> {
                let mut transaction = self.pool.begin().await?;
                for delete in [DELETE_FRAMES, DELETE_DETAILS, DELETE_EMBEDDING] {
                    sqlx::query(delete).bind(video_id).execute(&mut *transaction).await?;
                }
                Ok(transaction.commit().await?)
            }

            async fn update_version(&self, video_id: &str, video: &FoundVideo) -> Result<()> {
                let update = sqlx::query(UPDATE_VERSION)
                    .bind(video_id)
                    .bind(path_to_text(&video.path))
                    .bind(video.fingerprint.as_str())
                    .bind(video.root.as_deref().map(path_to_text));
                update.execute(&self.pool).await?;
                Ok(())
            }

            async fn write_extracted(
                transaction: &mut Transaction<Self>,
                video_id: &str,
                extracted: &Extracted,
            ) -> Result<()> {
                let Extracted { probe, extraction, secs } = extracted;
                for delete in [DELETE_FRAMES, DELETE_EMBEDDING] {
                    sqlx::query(delete).bind(video_id).execute(&mut **transaction).await?;
                }
                let details = sqlx::query(WRITE_DETAILS)
                    .bind(video_id)
                    .bind(probe.duration_secs)
                    .bind(to_column(probe.width_px))
                    .bind(to_column(probe.height_px))
                    .bind(&probe.codec)
                    .bind(probe.frame_rate)
                    .bind(probe.has_sound)
                    .bind(to_column(extraction.frames.len()))
                    .bind(&extraction.thumbnail_jpeg)
                    .bind(secs)
                    .bind(extraction.shortfall.map(|shortfall| shortfall.to_string()));
                details.execute(&mut **transaction).await?;
                for (number, frame) in extraction.frames.iter().enumerate() {
                    let write = sqlx::query(WRITE_FRAME).bind(video_id).bind(to_column(number)).bind(frame.as_rgb24());
                    write.execute(&mut **transaction).await?;
                }
                Ok(())
            }

            async fn write_embedding(
                transaction: &mut Transaction<Self>,
                video_id: &str,
                embedding: &Embedding,
                secs: f64,
            ) -> Result<()> {
                let write = sqlx::query(WRITE_EMBEDDING).bind(video_id).bind(embedding.to_bytes()).bind(secs);
                write.execute(&mut **transaction).await?;
                sqlx::query(DELETE_FRAMES).bind(video_id).execute(&mut **transaction).await?;
                Ok(())
            }

            async fn frames(&self, video_id: &str) -> Result<Vec<Frame>> {
                let frames = sqlx::query_scalar(FRAMES).bind(video_id);
                let frames: Vec<Vec<u8>> = frames.fetch_all(&self.pool).await?;
                let frames = frames.into_iter().map(Frame::from_rgb24).collect::<Result<_, _>>();
                frames.map_err(|error| damaged(video_id, error))
            }

            async fn embeddings(&self) -> Result<Vec<EmbeddedVideo>> {
                let rows: Vec<(String, Option<String>, Vec<u8>)> =
                    sqlx::query_as(EMBEDDINGS).fetch_all(&self.pool).await?;
                let decode = |(video_id, path, vector): (String, Option<String>, Vec<u8>)| match Embedding::from_bytes(
                    &vector,
                ) {
                    Ok(embedding) => Ok(EmbeddedVideo { video_id, path, embedding }),
                    Err(error) => Err(damaged(&video_id, error)),
                };
                rows.into_iter().map(decode).collect()
            }

            async fn report(&self, video_id: &str) -> Result<Option<VideoReport>> {
                let report = sqlx::query_as(REPORTS).bind(video_id).bind(None::<&str>).bind("").bind(1_i64);
                Ok(report.fetch_optional(&self.pool).await?)
            }

            async fn reports(&self, status_word: Option<&str>, after: &str, limit: i64) -> Result<Vec<VideoReport>> {
                let reports = sqlx::query_as(REPORTS).bind(None::<&str>).bind(status_word).bind(after).bind(limit);
                Ok(reports.fetch_all(&self.pool).await?)
            }
        }
    };
}

impl_library!(PostgresLibrary, PostgresStore, POSTGRES_MIGRATIONS);
impl_library!(SqliteLibrary, SqliteStore, SQLITE_MIGRATIONS);

/// Sizes of pictures and numbers of frames are far below the limit.
fn to_column(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
