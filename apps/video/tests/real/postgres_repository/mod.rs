//! `VideoRepository` against a real server.

mod claiming;
mod holder;
mod operator;
mod setup;

use rowlock_video::{VideoRepository, create_pool};
use sqlx::AssertSqlSafe;

use crate::database::TestDatabase;

/// A prepared repository, and its database, which must outlive it.
async fn repository() -> (TestDatabase, VideoRepository) {
    let database = TestDatabase::create().await;
    let videos = VideoRepository::new(create_pool(&database.url).await.unwrap());
    videos.prepare().await.unwrap();
    (database, videos)
}

/// Runs statements.
async fn run(videos: &VideoRepository, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(videos.pool()).await.unwrap();
}

/// The first column of the first row.
async fn ask<T>(videos: &VideoRepository, sql: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(videos.pool()).await.unwrap()
}

/// The whole row of one video, to compare before and after.
async fn row(videos: &VideoRepository, id: &str) -> String {
    ask(videos, &format!("select to_jsonb(v)::text from video_processing v where video_id = '{id}'")).await
}
