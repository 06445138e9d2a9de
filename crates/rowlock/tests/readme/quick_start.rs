use anyhow::Context as _;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Pipeline, Repository, SqliteRepository, Worker};

#[derive(sqlx::FromRow)]
struct Video {
    video_id: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pipeline =
        Pipeline::builder("videos").table("videos").key("video_id").stage("EXTRACTION").stage("EMBEDDING").build()?;
    let videos: SqliteRepository<Video> = Repository::new(SqliteStore::open("videos.sqlite", pipeline).await?);
    videos.prepare().await?; // creates the table, or adds what yours lacks
    videos.add_many(["a.mp4", "b.mp4"]).await?; // or any INSERT, from any language
    let report = Worker::new(videos)
        .handle("EXTRACTION", |_, video| async move {
            let (name, _) = video.video_id.split_once('.').context("a name without an extension")?; // retried later
            println!("extracting {name}");
            Ok(())
        })
        .handle("EMBEDDING", |context, video| async move {
            let mut transaction = context.begin().await?;
            sqlx::query("create table if not exists vectors (id)").execute(&mut *transaction).await?; // your writes,
            Ok(video.complete_in(transaction).await?) // committed once, together with the move
        })
        .run_until_idle()
        .await?;
    println!("{} stages completed, {} items failed", report.completed, report.failed);
    Ok(())
}
