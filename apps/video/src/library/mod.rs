//! The application's data beside the queue: the paths of the videos and the results about them.

mod report;
mod tables;

use std::future::Future;
use std::path::PathBuf;

use rowlock::{Repository, StageId, Status, Store};

use crate::embedding::Embedding;
use crate::media::{Extraction, FoundVideo, Frame, Probe};
use crate::{Error, Result};

pub use report::{VideoReport, path_json};
pub(crate) use tables::POSTGRES_MIGRATIONS;
pub use tables::{PostgresLibrary, SqliteLibrary};

/// Videos added in one transaction: few enough that others do not wait long for it, many enough that a folder is quick.
const ADDED_TOGETHER_MAX: usize = 500;

/// A video in the form for handlers.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct QueuedVideo {
    /// The key.
    pub video_id: String,
    /// The path of its file, as [`path_to_text`](crate::media::path_to_text) writes it; `None` in a row that this
    /// application did not create.
    pub path: Option<String>,
    /// The named folder in which it was found, written likewise; `None` if its file was named directly.
    pub root: Option<String>,
    /// The last error; a second error of the same kind may be final.
    pub error_message: Option<String>,
}

/// A video and its vector.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedVideo {
    /// The key.
    pub video_id: String,
    /// The path of its file.
    pub path: Option<String>,
    /// Its vector.
    pub embedding: Embedding,
}

/// The results of EXTRACTION.
#[derive(Debug)]
pub struct Extracted {
    /// What the video is made of.
    pub probe: Probe,
    /// What it shows.
    pub extraction: Extraction,
    /// How long the extraction took.
    pub secs: f64,
}

/// How a file relates to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It was new: it is now in the queue, ready for its first stage.
    New,
    /// It is in the queue, in the same version of the file.
    Same,
    /// It is in the queue, but the file has changed since.
    Changed,
    /// Its id is that of another file; nothing was written.
    Taken {
        /// The other file, as the table has it.
        by: String,
    },
}

/// A file, with its id in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insertion {
    /// The id of the row with the file's path; without such a row, the id that its path gives.
    pub video_id: String,
    /// How the file related to the queue.
    pub known: Known,
}

/// A file that could not be added, because its id is that of another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The file.
    pub path: PathBuf,
    /// The id of both.
    pub video_id: String,
    /// The other file, as the table has it.
    pub taken_by: String,
}

/// The result of [`add_videos`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Added {
    /// New videos.
    pub new: usize,
    /// Videos that are processed again, because their file has changed.
    pub changed: usize,
    /// Videos that were already in the queue.
    pub same: usize,
    /// The ids of all of these, in the order of the files.
    pub ids: Vec<String>,
    /// Files that were not added.
    pub collisions: Vec<Collision>,
}

/// The application's repository over a library's store.
pub type Videos<L> = Repository<<L as Library>::Store, QueuedVideo>;

/// A transaction of a library's store.
pub type Transaction<L> = <<L as Library>::Store as Store>::Transaction;

/// The application's tables in one database. Writes that belong to a move of the queue take the transaction that the
/// move ends; nothing else in the application knows which database it is.
pub trait Library: Clone + Send + Sync + 'static {
    /// The engine's store in the same database.
    type Store: Store;

    /// The engine's store.
    fn store(&self) -> &Self::Store;

    /// Creates the application's tables. May be repeated.
    fn migrate(&self) -> impl Future<Output = Result<()>> + Send;

    /// Whether the application's tables exist.
    fn is_migrated(&self) -> impl Future<Output = Result<bool>> + Send;

    /// Inserts the new videos in one transaction, and says how each file related to the queue. A video is the row with
    /// its path, whatever its id; without such a row, the row with its id.
    fn insert(&self, videos: &[FoundVideo]) -> impl Future<Output = Result<Vec<Insertion>>> + Send;

    /// Deletes the results about a video.
    fn delete_results(&self, video_id: &str) -> impl Future<Output = Result<()>> + Send;

    /// Stores which version of its file a video stands for.
    fn update_version(&self, video_id: &str, video: &FoundVideo) -> impl Future<Output = Result<()>> + Send;

    /// Replaces the results of EXTRACTION for a video, and deletes the vector that was made from the old ones.
    fn write_extracted(
        transaction: &mut Transaction<Self>,
        video_id: &str,
        extracted: &Extracted,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Replaces the vector of a video, and deletes the frames from which it was made.
    fn write_embedding(
        transaction: &mut Transaction<Self>,
        video_id: &str,
        embedding: &Embedding,
        secs: f64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The frames of a video, in order; none once the vector exists.
    fn frames(&self, video_id: &str) -> impl Future<Output = Result<Vec<Frame>>> + Send;

    /// All vectors, in the order of the ids.
    fn embeddings(&self) -> impl Future<Output = Result<Vec<EmbeddedVideo>>> + Send;

    /// The facts about one video.
    fn report(&self, video_id: &str) -> impl Future<Output = Result<Option<VideoReport>>> + Send;

    /// The facts about the videos in the given state, or in any, in the order of their ids, after the given one. A page
    /// has up to `limit` of them.
    fn reports(
        &self,
        status_word: Option<&str>,
        after: &str,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<VideoReport>>> + Send;
}

/// Adds videos to the queue. An existing one stays as it is, unless its file has changed: then it is processed again
/// from the first stage.
///
/// # Errors
/// Those of the database. The call may be repeated after an error.
pub async fn add_videos<L: Library>(videos: &Videos<L>, library: &L, found: &[FoundVideo]) -> Result<Added> {
    let mut added = Added::default();
    for chunk in found.chunks(ADDED_TOGETHER_MAX) {
        for (video, Insertion { video_id, known }) in chunk.iter().zip(library.insert(chunk).await?) {
            match known {
                Known::New => added.new += 1,
                Known::Same => added.same += 1,
                Known::Changed => {
                    take_again(videos, library, &video_id, video).await?;
                    added.changed += 1;
                }
                Known::Taken { by } => {
                    added.collisions.push(Collision { path: video.path.clone(), video_id, taken_by: by });
                    continue;
                }
            }
            added.ids.push(video_id);
        }
    }
    Ok(added)
}

/// The new version is stored last: if the call is interrupted before, the file still counts as changed.
async fn take_again<L: Library>(videos: &Videos<L>, library: &L, video_id: &str, video: &FoundVideo) -> Result<()> {
    library.delete_results(video_id).await?;
    match videos.set(video_id, Status::Ready(StageId::FIRST), None).await {
        // It was deleted meanwhile.
        Ok(_) | Err(rowlock::Error::NotFound { .. }) => library.update_version(video_id, video).await,
        Err(error) => Err(error.into()),
    }
}

fn damaged(video_id: &str, problem: impl std::fmt::Display) -> Error {
    Error::Damaged { video_id: video_id.to_owned(), problem: problem.to_string() }
}
