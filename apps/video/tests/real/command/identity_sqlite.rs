//! The row that belongs to a file.

use std::fs;

use tempfile::TempDir;

use super::{file_of, json, of_file, rowlock_video, run_to_end, sqlite_url, text};
use crate::clips::clip;

async fn execute(folder: &TempDir, sql: &'static str, binds: &[&str]) {
    let url = format!("sqlite://{}", file_of(folder).display());
    let pool = sqlx::sqlite::SqlitePool::connect(&url).await.unwrap();
    let query = binds.iter().fold(sqlx::query(sql), |query, bind| query.bind(*bind));
    assert_eq!(query.execute(&pool).await.unwrap().rows_affected(), 1);
    pool.close().await;
}

#[tokio::test]
async fn a_file_whose_id_is_taken_by_another_is_reported_and_not_lost() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for name in ["one.mp4", "two.mp4"] {
        fs::copy(clip("carphone_distorted"), folder.path().join(name)).unwrap();
    }
    let (database, path) = (sqlite_url(&queue), folder.path().to_str().unwrap());
    let run = ["run", path, "--frames", "1"];
    let first = json(&database, &run, 0);
    let id = of_file(&first["videos"], "one.mp4")["video_id"].as_str().unwrap();
    // As if another file had the id of one.mp4.
    execute(&queue, "update video_processing set path = '/forged/100%25.mp4' where video_id = ?", &[id]).await;

    let second = json(&database, &run, 1);
    assert_eq!((&second["known"], &second["not_added"][0]["video_id"]), (&1.into(), &id.into()), "{second}");
    assert_eq!(second["not_added"][0]["taken_by"], "/forged/100%.mp4");
    let plain = run_to_end(rowlock_video(&database, &run), 1);
    assert!(text(&plain.stderr).contains("one.mp4 was not added"), "{}", text(&plain.stderr));
    assert!(text(&plain.stdout).contains("passed over: 1 × of an id that is taken"), "{}", text(&plain.stdout));
}

#[tokio::test]
async fn a_table_of_an_earlier_version_keeps_its_ids() {
    let (folder, queue) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::copy(clip("carphone_distorted"), folder.path().join("bikes.mp4")).unwrap();
    let (database, path) = (sqlite_url(&queue), folder.path().to_str().unwrap());
    let run = ["run", path, "--frames", "1"];
    let id = json(&database, &run, 0)["videos"][0]["video_id"].as_str().unwrap().to_owned();
    assert_eq!(id.rsplit_once('-').unwrap().1.len(), 26, "{id}");
    for table in ["delete from video_details", "delete from video_embeddings"] {
        execute(&queue, table, &[]).await;
    }
    execute(&queue, "update video_processing set video_id = 'bikes-1f00a2c4d7e9' where video_id = ?", &[&id]).await;

    let again = json(&database, &run, 0);
    assert_eq!((&again["new"], &again["known"]), (&0.into(), &1.into()), "{again}");
    assert_eq!(again["videos"][0]["video_id"], "bikes-1f00a2c4d7e9");

    // Another name of the same file, which comes first, is not another video.
    fs::hard_link(folder.path().join("bikes.mp4"), folder.path().join("a.mp4")).unwrap();
    let linked = json(&database, &run, 0);
    assert_eq!((&linked["found"], &linked["new"], &linked["known"]), (&1.into(), &0.into(), &1.into()), "{linked}");
}
