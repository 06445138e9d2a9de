//! `claim_batch` and `fetch_test_batch`.

use std::collections::HashSet;
use std::sync::Arc;

use rowlock_video::{VideoRepository, VideoStatus};
use tokio::sync::Barrier;

use super::{ask, repository, row, run};

/// Claims, and returns the ids in order. The leases are dropped.
async fn claimed(videos: &VideoRepository, count: i32, max_retries: i32) -> Vec<String> {
    let claims = videos.claim_batch(count, max_retries).await.unwrap();
    claims.iter().map(|claim| claim.video_id.clone()).collect()
}

const MIXTURE: &str = "
    insert into video_processing (video_id, status, created_at, retry_after) values
      ('pending old', 'PENDING', now() - interval '3 h', null),
      ('pending new', 'PENDING', now() - interval '1 h', null),
      ('retried', 'PENDING', now() - interval '9 h', now() - interval '2 h'),
      ('half old', 'EXTRACTION_COMPLETE', now() - interval '30 min', null),
      ('half new', 'EXTRACTION_COMPLETE', now() - interval '10 min', null),
      ('not due', 'PENDING', now() - interval '9 h', now() + interval '1 h'),
      ('held', 'EXTRACTION_IN_PROGRESS', now() - interval '9 h', null),
      ('done', 'SUCCEEDED', now() - interval '9 h', null),
      ('failed', 'FAILED', now() - interval '9 h', null),
      ('cancelled', 'CANCELLED', now() - interval '9 h', null)";

#[tokio::test]
async fn later_stages_come_first_then_age_or_the_due_time_of_what_was_retried() {
    let (_database, videos) = repository().await;
    run(&videos, MIXTURE).await;
    assert_eq!(claimed(&videos, 3, 5).await, ["half old", "half new", "pending old"]);
    assert_eq!(claimed(&videos, 100, 5).await, ["retried", "pending new"]);
    assert!(claimed(&videos, 100, 5).await.is_empty());
}

#[tokio::test]
async fn a_claim_is_the_record_as_it_is_afterwards() {
    let (_database, videos) = repository().await;
    run(&videos, MIXTURE).await;
    let claims = videos.claim_batch(10, 5).await.unwrap();
    let statuses: Vec<VideoStatus> = claims.iter().map(|claim| claim.status).collect();
    let (embedding, extraction) = (VideoStatus::EmbeddingInProgress, VideoStatus::ExtractionInProgress);
    assert_eq!(statuses, [embedding, embedding, extraction, extraction, extraction]);
    for claim in claims {
        assert!(claim.pc_heartbeat.is_some());
        assert_eq!(*claim.record(), videos.get_by_id(&claim.video_id).await.unwrap().unwrap());
        claim.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_spent_retry_count_only_filters() {
    let (_database, videos) = repository().await;
    run(
        &videos,
        "insert into video_processing (video_id, retry_count, created_at) values
           ('spent', 3, now() - interval '2 h'), ('fresh', 2, now() - interval '1 h')",
    )
    .await;
    let before = row(&videos, "spent").await;
    assert_eq!(claimed(&videos, 1, 3).await, ["fresh"]);
    assert!(claimed(&videos, 1, 3).await.is_empty());
    assert_eq!(row(&videos, "spent").await, before);
    assert_eq!(claimed(&videos, 1, 4).await, ["spent"]);
}

#[tokio::test]
async fn a_count_of_zero_takes_nothing_and_a_negative_one_is_an_error() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id) values ('a')").await;
    assert!(claimed(&videos, 0, 5).await.is_empty());
    assert!(videos.claim_batch(-1, 5).await.is_err());
    assert!(videos.fetch_test_batch(0, &[]).await.unwrap().is_empty());
    assert!(videos.fetch_test_batch(-1, &[]).await.is_err());
    assert_eq!(videos.get_by_id("a").await.unwrap().unwrap().status, VideoStatus::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_claims_never_get_the_same_video_nor_more_than_they_asked_for() {
    const CLAIMERS: usize = 8;
    const VIDEOS: usize = 400;
    let (_database, videos) = repository().await;
    run(
        &videos,
        &format!("insert into video_processing (video_id) select 'v' || n from generate_series(1, {VIDEOS}) n"),
    )
    .await;
    let barrier = Arc::new(Barrier::new(CLAIMERS));
    let mut claimers = Vec::new();
    for _ in 0..CLAIMERS {
        let (videos, barrier) = (videos.clone(), Arc::clone(&barrier));
        claimers.push(tokio::spawn(async move {
            barrier.wait().await;
            let mut taken = Vec::new();
            loop {
                let claims = claimed(&videos, 7, 5).await;
                assert!(claims.len() <= 7);
                if claims.is_empty() {
                    return taken;
                }
                taken.extend(claims);
            }
        }));
    }
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    assert_eq!(all.len(), VIDEOS);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), VIDEOS);
}

#[tokio::test]
async fn a_row_that_somebody_has_locked_is_passed_over_without_waiting() {
    let (_database, videos) = repository().await;
    run(
        &videos,
        "insert into video_processing (video_id, created_at) values \
         ('locked', now() - interval '1 h'), ('free', now())",
    )
    .await;
    let mut other = videos.pool().begin().await.unwrap();
    sqlx::query("select from video_processing where video_id = 'locked' for update")
        .execute(&mut *other)
        .await
        .unwrap();
    assert_eq!(claimed(&videos, 10, 5).await, ["free"]);
    other.rollback().await.unwrap();
    assert_eq!(claimed(&videos, 10, 5).await, ["locked"]);
}

#[tokio::test]
async fn a_test_batch_is_what_a_claim_would_take_less_the_excluded_and_writes_nothing() {
    let (_database, videos) = repository().await;
    run(&videos, MIXTURE).await;
    const ALL: &str = "select string_agg(to_jsonb(v)::text, ';' order by video_id) from video_processing v";
    let before: String = ask(&videos, ALL).await;
    let exclude = ["half old".to_owned(), "retried".to_owned()];
    let batch = videos.fetch_test_batch(3, &exclude).await.unwrap();
    let ids: Vec<&str> = batch.iter().map(|record| record.video_id.as_str()).collect();
    assert_eq!(ids, ["half new", "pending old", "pending new"]);
    assert_eq!(batch[0].status, VideoStatus::ExtractionComplete);
    assert_eq!(ask::<String>(&videos, ALL).await, before);
}
