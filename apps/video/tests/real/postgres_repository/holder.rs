//! Calls that act as the present holder: `handle_retryable_error`, `update_heartbeat`; and the one that takes back from
//! stopped holders: `reset_stuck_videos`.

use rowlock_video::{Error, VideoStatus};

use super::{ask, repository, row, run};

#[tokio::test]
async fn a_failure_is_counted_and_the_video_is_ready_again_for_its_stage() {
    let (_database, videos) = repository().await;
    run(
        &videos,
        "insert into video_processing (video_id, status) values ('a', 'PENDING'), ('b', 'EXTRACTION_COMPLETE')",
    )
    .await;
    let claims = videos.claim_batch(2, 5).await.unwrap();
    for (id, status) in [("a", VideoStatus::Pending), ("b", VideoStatus::ExtractionComplete)] {
        assert!(videos.handle_retryable_error(id, "disk full", 5).await.unwrap());
        let record = videos.get_by_id(id).await.unwrap().unwrap();
        assert_eq!((record.status, record.retry_count), (status, 1));
        assert_eq!(record.error_message.as_deref(), Some("disk full"));
    }
    drop(claims);
    assert!(videos.claim_batch(2, 5).await.unwrap().is_empty(), "not due yet");
}

#[tokio::test]
async fn at_the_limit_it_is_failed_and_says_so() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id, retry_count) values ('a', 1), ('b', 6)").await;
    drop(videos.claim_batch(2, 10).await.unwrap());
    assert!(!videos.handle_retryable_error("a", "no luck", 2).await.unwrap());
    assert!(videos.handle_retryable_error("b", "still hoping", 10).await.unwrap());
    let record = videos.get_by_id("a").await.unwrap().unwrap();
    assert_eq!((record.status, record.retry_count), (VideoStatus::Failed, 2));
    assert_eq!(record.error_message.as_deref(), Some("Max retries (2) exceeded: no luck"));
    assert_eq!(videos.get_by_id("b").await.unwrap().unwrap().status, VideoStatus::Pending);
}

#[tokio::test]
async fn a_video_that_is_missing_or_not_in_progress_is_an_error_and_is_left_alone() {
    let (_database, videos) = repository().await;
    for status in ["PENDING", "EXTRACTION_COMPLETE", "SUCCEEDED", "FAILED", "CANCELLED", "WHATEVER"] {
        run(&videos, &format!("insert into video_processing (video_id, status) values ('{status}', '{status}')")).await;
        let before = row(&videos, status).await;
        let error = videos.handle_retryable_error(status, "late", 5).await.unwrap_err();
        assert!(matches!(&error, Error::NotInProgress { found, .. } if found == status), "{error:?}");
        assert!(!videos.update_heartbeat(status).await.unwrap());
        assert_eq!(row(&videos, status).await, before);
    }
    let error = videos.handle_retryable_error("nobody", "late", 5).await.unwrap_err();
    assert_eq!(error.to_string(), "video \"nobody\" is missing, and not in progress");
    assert!(!videos.update_heartbeat("nobody").await.unwrap());
}

#[tokio::test]
async fn a_video_that_was_put_in_progress_by_hand_can_be_renewed_and_retried() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id, status) values ('a', 'EMBEDDING_IN_PROGRESS')").await;
    assert!(videos.update_heartbeat("a").await.unwrap());
    assert!(videos.get_by_id("a").await.unwrap().unwrap().pc_heartbeat.is_some());
    assert!(videos.handle_retryable_error("a", "again", 5).await.unwrap());
    assert_eq!(videos.get_by_id("a").await.unwrap().unwrap().status, VideoStatus::ExtractionComplete);
}

/// The delays in seconds after the failure that makes the retry count `count`, for many videos.
async fn delays(count: i32) -> Vec<f64> {
    const VIDEOS: usize = 60;
    let (_database, videos) = repository().await;
    run(
        &videos,
        &format!(
            "insert into video_processing (video_id, status, retry_count)
             select 'v' || n, 'EXTRACTION_IN_PROGRESS', {} from generate_series(1, {VIDEOS}) n",
            count - 1
        ),
    )
    .await;
    for number in 1..=VIDEOS {
        assert!(videos.handle_retryable_error(&format!("v{number}"), "once more", i32::MAX).await.unwrap());
    }
    let delays: Vec<f64> =
        ask(&videos, "select array_agg(extract(epoch from retry_after - updated_at)::float8) from video_processing")
            .await;
    assert_eq!(delays.len(), VIDEOS);
    delays
}

#[tokio::test]
async fn the_delay_doubles_up_to_an_hour_with_jitter_to_both_sides() {
    for (count, expected) in [(1, 120.0), (2, 240.0), (5, 1920.0), (6, 3600.0), (1000, 3600.0)] {
        let delays = delays(count).await;
        let (low, high) = (expected * 0.75, expected * 1.25);
        assert!(delays.iter().all(|delay| (low - 0.01..=high + 0.01).contains(delay)), "{count}: {delays:?}");
        assert!(delays.iter().any(|delay| *delay < expected), "{count}: {delays:?}");
        assert!(delays.iter().any(|delay| *delay > expected), "{count}: {delays:?}");
        assert!(delays.iter().all(|delay| *delay >= 60.0));
    }
}

#[tokio::test]
async fn a_heartbeat_renews_the_present_holders_lease() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id) values ('a')").await;
    let claims = videos.claim_batch(1, 5).await.unwrap();
    run(&videos, "update video_processing set pc_heartbeat = now() - interval '1 h'").await;
    assert!(videos.update_heartbeat("a").await.unwrap());
    assert!(ask::<bool>(&videos, "select pc_heartbeat > now() - interval '1 min' from video_processing").await);
    assert_eq!(videos.reset_stuck_videos().await.unwrap(), 0);
    for claim in claims {
        claim.complete().await.unwrap();
    }
}

#[tokio::test]
async fn stale_and_missing_heartbeats_are_taken_back_and_the_living_are_not() {
    let (_database, videos) = repository().await;
    run(
        &videos,
        "insert into video_processing (video_id, status, pc_heartbeat) values
           ('stale', 'EXTRACTION_IN_PROGRESS', now() - interval '301 s'),
           ('missing', 'EMBEDDING_IN_PROGRESS', null),
           ('alive', 'EXTRACTION_IN_PROGRESS', now() - interval '280 s'),
           ('ready', 'PENDING', now() - interval '1 h'),
           ('done', 'SUCCEEDED', now() - interval '1 h')",
    )
    .await;
    assert_eq!(videos.reset_stuck_videos().await.unwrap(), 2);
    assert_eq!(videos.reset_stuck_videos().await.unwrap(), 0);
    let words: Vec<String> =
        ask(&videos, "select array_agg(video_id || ' ' || status order by video_id) from video_processing").await;
    assert_eq!(
        words,
        [
            "alive EXTRACTION_IN_PROGRESS",
            "done SUCCEEDED",
            "missing EXTRACTION_COMPLETE",
            "ready PENDING",
            "stale PENDING"
        ]
    );
    assert_eq!(videos.claim_batch(5, 5).await.unwrap().len(), 3, "due at once");
}

#[tokio::test]
async fn a_zombie_changes_nothing_after_its_video_was_taken_back() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id) values ('a')").await;
    let zombies = videos.claim_batch(1, 5).await.unwrap();
    run(&videos, "update video_processing set pc_heartbeat = now() - interval '6 min'").await;
    assert_eq!(videos.reset_stuck_videos().await.unwrap(), 1);
    let next = videos.claim_batch(1, 5).await.unwrap();
    for zombie in zombies {
        let error = zombie.fail("too late").await.unwrap_err();
        assert!(matches!(error.error(), rowlock::Error::LeaseLost { .. }), "{error:?}");
    }
    for claim in next {
        claim.complete().await.unwrap();
    }
    assert_eq!(videos.get_by_id("a").await.unwrap().unwrap().status, VideoStatus::ExtractionComplete);
}
