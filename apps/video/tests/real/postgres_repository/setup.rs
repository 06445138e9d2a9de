//! Pool, migrations, and the typed lookup.

use std::time::{Duration, Instant};

use rowlock_video::{Error, PoolLimits, VideoRepository, VideoStatus, create_pool, create_pool_with};

use super::{ask, repository, run};
use crate::database::TestDatabase;

#[tokio::test]
async fn the_pool_has_five_connections_and_gives_up_waiting_for_one_after_three_seconds() {
    let database = TestDatabase::create().await;
    let pool = create_pool(&database.url).await.unwrap();
    assert_eq!(pool.options().get_max_connections(), 5);
    assert_eq!(pool.options().get_acquire_timeout(), Duration::from_secs(3));
    assert!(pool.size() >= 1, "SELECT 1 has run");
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.acquire().await.unwrap());
    }
    let started = Instant::now();
    assert!(matches!(pool.acquire().await, Err(sqlx::Error::PoolTimedOut)));
    assert!((2.5..6.0).contains(&started.elapsed().as_secs_f64()));
}

#[tokio::test]
async fn another_limit_is_kept_and_an_unreachable_server_is_an_error() {
    let database = TestDatabase::create().await;
    let limits = PoolLimits { max_connections: 2, acquire_timeout: Duration::from_millis(300) };
    let pool = create_pool_with(&database.url, limits).await.unwrap();
    assert_eq!(pool.options().get_max_connections(), 2);
    let nobody = create_pool_with("postgres://postgres@127.0.0.1:1/nobody", limits).await;
    assert!(matches!(nobody, Err(Error::Connect { .. })));
    assert!(matches!(create_pool("not a url").await, Err(Error::Connect { .. })));
}

#[tokio::test]
async fn the_first_call_makes_the_tables_and_prepare_may_be_repeated() {
    let database = TestDatabase::create().await;
    let videos = VideoRepository::new(create_pool(&database.url).await.unwrap());
    assert_eq!(videos.reset_stuck_videos().await.unwrap(), 0);
    videos.prepare().await.unwrap();
    videos.clone().prepare().await.unwrap();
    assert!(videos.claim_batch(1, 5).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_table_that_a_team_has_already_is_completed_and_keeps_its_rows() {
    let database = TestDatabase::create().await;
    let videos = VideoRepository::new(create_pool(&database.url).await.unwrap());
    run(
        &videos,
        "create table video_processing (
           video_id text primary key, status text not null default 'PENDING', retry_count integer not null default 0,
           retry_after timestamptz, error_message text, pc_heartbeat timestamptz,
           created_at timestamptz not null default now(), updated_at timestamptz not null default now(), note text);
         insert into video_processing (video_id, note) values ('old', 'ours')",
    )
    .await;
    let claims = videos.claim_batch(5, 5).await.unwrap();
    assert_eq!(claims.len(), 1);
    for claim in claims {
        claim.complete().await.unwrap();
    }
    assert_eq!(
        ask::<String>(&videos, "select note || ' ' || status from video_processing").await,
        "ours EXTRACTION_COMPLETE"
    );
}

#[tokio::test]
async fn a_record_is_found_by_its_id() {
    let (_database, videos) = repository().await;
    run(
        &videos,
        "insert into video_processing (video_id, status, retry_count, created_at, error_message)
         values ('a', 'EXTRACTION_COMPLETE', 2, '2024-05-06 07:08:09+00', 'once')",
    )
    .await;
    let record = videos.get_by_id("a").await.unwrap().unwrap();
    assert_eq!(
        (record.video_id.as_str(), record.status, record.retry_count),
        ("a", VideoStatus::ExtractionComplete, 2)
    );
    assert_eq!(record.created_at.to_rfc3339(), "2024-05-06T07:08:09+00:00");
    assert_eq!((record.error_message.as_deref(), record.pc_heartbeat), (Some("once"), None));
    assert_eq!(record.clone(), record);
    assert!(videos.get_by_id("b").await.unwrap().is_none());
    run(&videos, "insert into video_processing (video_id, status) values ('odd', 'WHATEVER')").await;
    let error = videos.get_by_id("odd").await.unwrap_err();
    assert!(error.to_string().contains("WHATEVER"), "{error}");
}
