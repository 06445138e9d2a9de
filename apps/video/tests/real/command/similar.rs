//! `similar --all`: right, and quick. `cargo test --release -p rowlock-video --test real similar -- --nocapture` shows
//! how quick.

use std::time::{Duration, Instant};

use rowlock_video::embedding::{EMBEDDING_NUMBERS, Embedding};
use rowlock_video::library::{Library, PostgresLibrary, SqliteLibrary};
use serde_json::Value;
use tempfile::TempDir;

use super::{rowlock_video, run_to_end, sqlite_url};
use crate::database::TestDatabase;

/// Without optimisation this many would take a minute.
const VIDEOS: usize = if cfg!(debug_assertions) { 500 } else { 5_000 };

/// From the start of the program to its end, with 5,000 videos.
const LIMIT: Duration = Duration::from_secs(2);

const STALE_AFTER: Duration = Duration::from_secs(30);

const ADD: &str = "insert into video_processing (video_id, path, status) values ($1, $2, 'SUCCEEDED')";

const EMBED: &str = "insert into video_embeddings (video_id, vector, embedding_secs) values ($1, $2, 0.1)";

fn id(video: usize) -> String {
    format!("video-{video:04}")
}

/// The vectors of the videos: any, but each two consecutive ones are alike.
fn embeddings() -> impl Iterator<Item = Embedding> {
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u8::try_from(state >> 24).unwrap()) / 255.0
    };
    let mut numbers: Vec<f32> = Vec::new();
    (0..VIDEOS).map(move |video| {
        if video % 2 == 0 {
            numbers = (0..EMBEDDING_NUMBERS).map(|_| random()).collect();
        } else {
            numbers.iter_mut().step_by(10).for_each(|number| *number *= 0.9);
        }
        Embedding::mean_of(&[numbers.clone()]).unwrap()
    })
}

macro_rules! fill {
    ($pool:ident, $url:expr) => {
        let pool = sqlx::$pool::connect($url).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        for (video, embedding) in embeddings().enumerate() {
            let add = sqlx::query(ADD).bind(id(video)).bind(format!("/films/{video}.mp4"));
            add.execute(&mut *transaction).await.unwrap();
            let embed = sqlx::query(EMBED).bind(id(video)).bind(embedding.to_bytes());
            embed.execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        pool.close().await;
    };
}

fn compare_all(database: &str, kind: &str) {
    let started = Instant::now();
    let output = run_to_end(rowlock_video(database, &["similar", "--all", "--json"]), 0);
    let took = started.elapsed();
    println!("similar --all of {VIDEOS} videos on {kind}: {took:.2?}");
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), VIDEOS);
    for (video, answer) in answers.iter().enumerate() {
        assert_eq!(
            (&answer["video_id"], &answer["similar"][0]["video_id"]),
            (&id(video).into(), &id(video ^ 1).into())
        );
    }
    // Without optimisation the time means nothing.
    assert!(cfg!(debug_assertions) || took < LIMIT, "{took:?}");
}

#[tokio::test]
async fn all_videos_are_compared_within_2_seconds_sqlite() {
    let folder = TempDir::new().unwrap();
    let url = sqlite_url(&folder);
    SqliteLibrary::open(&url, true, STALE_AFTER).await.unwrap().migrate().await.unwrap();
    fill!(SqlitePool, &url);
    compare_all(&url, "SQLite");
}

#[tokio::test]
async fn all_videos_are_compared_within_2_seconds_postgres() {
    let database = TestDatabase::create().await;
    PostgresLibrary::open(&database.url, STALE_AFTER).await.unwrap().migrate().await.unwrap();
    fill!(PgPool, &database.url);
    compare_all(&database.url, "PostgreSQL");
}
