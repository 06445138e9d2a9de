use rowlock::store::sqlite::SqliteStore;
use rowlock::{Pipeline, Repository, Worker};

#[derive(sqlx::FromRow)]
struct Video {
    video_id: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline =
        Pipeline::builder("videos").table("videos").key("video_id").stage("EXTRACTION").stage("EMBEDDING").build()?;
    let videos = Repository::<_, Video>::new(SqliteStore::open("videos.sqlite", pipeline).await?);
    videos.prepare().await?; // creates the table, or adds what yours lacks
    videos.add_many(&["a.mp4".into(), "b.mp4".into()]).await?; // or any INSERT, from any language
    let report = Worker::new(videos)
        .handle("EXTRACTION", |_, video| async move {
            println!("extracting {}", video.video_id);
            Ok(()) // an error by `?` is retried; `Failure::permanent` is not
        })
        .handle("EMBEDDING", |context, video| async move {
            let mut transaction = context.begin().await?;
            sqlx::query("create table if not exists vectors (id)").execute(&mut *transaction).await?; // your writes,
            Ok(context.complete_in(transaction, video).await?) // committed once, together with the move
        })
        .run_until_idle()
        .await?;
    println!("{} stages completed, {} items failed", report.completed, report.failed);
    Ok(())
}
