//! What can go wrong around the queue of videos.

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine, or the database underneath it.
    #[error(transparent)]
    Engine(#[from] rowlock::Error),

    /// No connection could be made.
    #[error("cannot connect to the database")]
    Connect {
        /// The driver's error.
        source: sqlx::Error,
    },

    /// A query of the application's own failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),

    /// The application's tables could not be created.
    #[error("the database cannot be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),

    /// The call is for a video that is held, but no worker holds this one. Nothing was changed.
    #[error("video {video_id:?} is {found}, and not in progress")]
    NotInProgress {
        /// The video.
        video_id: String,
        /// Its status word, or that it is missing.
        found: String,
    },

    /// The stored data of a video is not in this application's form.
    #[error("video {video_id:?}: {problem}")]
    Damaged {
        /// The video.
        video_id: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone intervening.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_transient(),
            Self::Connect { .. } => true,
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Migration(_) | Self::NotInProgress { .. } | Self::Damaged { .. } => false,
        }
    }
}
