//! `update_status`, `mark_succeeded` and `mark_failed`.

use rowlock_video::{Error, VideoStatus};

use super::{ask, repository, row, run};

#[tokio::test]
async fn a_status_is_set_and_an_error_replaces_the_old_one_or_is_kept() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id, error_message) values ('a', 'old')").await;
    for status in [VideoStatus::Failed, VideoStatus::Pending, VideoStatus::ExtractionComplete, VideoStatus::Cancelled] {
        assert!(videos.update_status("a", status, None).await.unwrap());
        let record = videos.get_by_id("a").await.unwrap().unwrap();
        assert_eq!((record.status, record.error_message.as_deref()), (status, Some("old")));
    }
    assert!(videos.update_status("a", VideoStatus::Failed, Some("new")).await.unwrap());
    assert_eq!(videos.get_by_id("a").await.unwrap().unwrap().error_message.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_missing_video_is_false() {
    let (_database, videos) = repository().await;
    assert!(!videos.update_status("nobody", VideoStatus::Pending, None).await.unwrap());
    assert!(!videos.mark_succeeded("nobody").await.unwrap());
    assert!(!videos.mark_failed("nobody", "why").await.unwrap());
}

#[tokio::test]
async fn only_a_claim_puts_a_video_in_progress() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id) values ('a')").await;
    let before = row(&videos, "a").await;
    for status in [VideoStatus::ExtractionInProgress, VideoStatus::EmbeddingInProgress] {
        let error = videos.update_status("a", status, None).await.unwrap_err();
        assert!(matches!(error, Error::Engine(rowlock::Error::IllegalMove { .. })), "{error:?}");
    }
    assert_eq!(row(&videos, "a").await, before);
}

#[tokio::test]
async fn a_row_with_an_unknown_word_is_left_alone() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id, status) values ('odd', 'WHATEVER')").await;
    let before = row(&videos, "odd").await;
    let error = videos.mark_succeeded("odd").await.unwrap_err();
    assert!(matches!(error, Error::Engine(rowlock::Error::IllegalMove { .. })), "{error:?}");
    assert_eq!(row(&videos, "odd").await, before);
}

#[tokio::test]
async fn marks_end_the_lease_of_the_holder() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id) values ('a'), ('b')").await;
    let mut claims = videos.claim_batch(2, 5).await.unwrap();
    claims.sort_by(|x, y| x.video_id.cmp(&y.video_id));
    assert!(videos.mark_succeeded("a").await.unwrap());
    assert!(videos.mark_failed("b", "by hand").await.unwrap());
    for claim in claims {
        let error = claim.complete().await.unwrap_err();
        assert!(matches!(error.error(), rowlock::Error::LeaseLost { .. }), "{error:?}");
    }
    let words: String = ask(
        &videos,
        "select string_agg(concat_ws(' ', status, error_message, resume_status), ', ' order by video_id) \
         from video_processing",
    )
    .await;
    assert_eq!(words, "SUCCEEDED, FAILED by hand PENDING");
}

#[tokio::test]
async fn a_failed_video_that_is_set_ready_has_its_retries_back() {
    let (_database, videos) = repository().await;
    run(&videos, "insert into video_processing (video_id, status, retry_count) values ('a', 'FAILED', 5)").await;
    assert!(videos.update_status("a", VideoStatus::Pending, None).await.unwrap());
    assert_eq!(videos.get_by_id("a").await.unwrap().unwrap().retry_count, 0);
    assert_eq!(videos.claim_batch(1, 5).await.unwrap().len(), 1);
}
