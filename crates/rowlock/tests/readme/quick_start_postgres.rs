use anyhow::Context as _;
use rowlock::store::postgres::PostgresStore;
use rowlock::{PgRepository, Pipeline, Repository, Worker};
use sqlx::{Connection as _, Executor as _, PgConnection};

#[derive(sqlx::FromRow)]
struct Video {
    video_id: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL must be postgres://USER:PASSWORD@HOST/DATABASE")?;
    let mut connection = PgConnection::connect(&url).await?;
    connection.execute("create table if not exists vectors (video_id text primary key)").await?; // of your application
    let pipeline =
        Pipeline::builder("videos").table("videos").key("video_id").stage("EXTRACTION").stage("EMBEDDING").build()?;
    let videos: PgRepository<Video> = Repository::new(PostgresStore::connect(&url, pipeline).await?);
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
            let vector = sqlx::query("insert into vectors (video_id) values ($1)").bind(video.video_id.as_str());
            vector.execute(&mut *transaction).await?; // your writes,
            Ok(video.complete_in(transaction).await?) // committed once, together with the move
        })
        .run_until_idle()
        .await?;
    println!("{} stages completed, {} items failed", report.completed, report.failed);
    Ok(())
}
