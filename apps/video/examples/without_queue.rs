//! The same work on a folder as `rowlock-video run`, with no queue and no database: the benchmark `overhead` compares
//! the two.
//!
//! `without_queue FOLDER` prints how many videos were taken through both stages. It stops at the first that fails, and
//! everything that it had done is lost: that is what the queue is for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rowlock_video::embedding::{Embedder, Embedding, model_path};
use rowlock_video::media::{Ffmpeg, FrameCount, Links, discover};
use rowlock_video::processing::Tools;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("usage: without_queue FOLDER")?.into();
    let tools = Arc::new(Tools {
        ffmpeg: Ffmpeg::find().await?,
        embedder: tokio::task::spawn_blocking(|| Embedder::load(&model_path())).await??,
        frames: FrameCount::default(),
    });
    // As many in each stage at once as the application has by default.
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let (extracting, embedding) = (Arc::new(Semaphore::new(jobs)), Arc::new(Semaphore::new(jobs)));
    let mut videos = JoinSet::new();
    for video in discover(&[folder], Links::Inside)?.videos {
        let (tools, extracting, embedding) = (Arc::clone(&tools), Arc::clone(&extracting), Arc::clone(&embedding));
        videos.spawn(async move { take(&tools, &video.path, &extracting, &embedding).await });
    }
    let mut done = 0;
    while let Some(vector) = videos.join_next().await {
        vector??;
        done += 1;
    }
    println!("{done}");
    Ok(())
}

async fn take(tools: &Tools, video: &Path, extracting: &Semaphore, embedding: &Semaphore) -> Result<Embedding> {
    let extraction = {
        let _permit = extracting.acquire().await?;
        let probe = tools.ffmpeg.probe(video).await?;
        tools.ffmpeg.extract(video, &probe, tools.frames).await?
    };
    let _permit = embedding.acquire().await?;
    let embedder = tools.embedder.clone();
    Ok(tokio::task::spawn_blocking(move || embedder.embed(&extraction.frames)).await??)
}
