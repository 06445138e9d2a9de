//! The work on a video in each stage.
//!
//! Both stages compute first and open the transaction afterwards: on SQLite no one else can write while it is open.

use std::sync::Arc;
use std::time::Instant;

use rowlock::{Claim, Context, Failure, Settled, Worker};

use crate::embedding::{Embedder, EmbeddingError};
use crate::library::{Extracted, Library, QueuedVideo, Videos};
use crate::media::{Ffmpeg, FrameCount, MediaError, absence_of_root, path_from_text};
use crate::pipeline::{EMBEDDING, EXTRACTION};

/// The handlers' tools. Found before anything is claimed: a worker without ffmpeg would fail every video.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Reads videos.
    pub ffmpeg: Ffmpeg,
    /// The image model.
    pub embedder: Embedder,
    /// How many frames to take of each video.
    pub frames: FrameCount,
}

/// A worker with the handlers of both stages, `jobs` of each at once.
pub fn worker<L: Library>(videos: Videos<L>, library: L, tools: Tools, jobs: usize) -> Worker<L::Store, QueuedVideo>
where
    QueuedVideo: rowlock::Record<L::Store>,
{
    let (library, tools) = (Arc::new(library), Arc::new(tools));
    let (same_library, same_tools) = (Arc::clone(&library), Arc::clone(&tools));
    Worker::new(videos)
        .shutdown_on_signals()
        .handle(EXTRACTION, move |context, claim| {
            let tools = Arc::clone(&tools);
            async move { extract::<L>(&tools, context, claim).await }
        })
        .handle(EMBEDDING, move |context, claim| {
            let (library, tools) = (Arc::clone(&same_library), Arc::clone(&same_tools));
            async move { embed(&*library, &tools, context, claim).await }
        })
        .concurrency(EXTRACTION, jobs)
        .concurrency(EMBEDDING, jobs)
}

/// EXTRACTION: the video's format and frames, written in the transaction that completes the stage.
async fn extract<L: Library>(
    tools: &Tools,
    context: Context<L::Store, QueuedVideo>,
    claim: Claim<QueuedVideo>,
) -> Result<Settled, Failure> {
    let Some(path) = &claim.path else {
        return Err(Failure::permanent("the row has no path: add videos with `rowlock-video run PATH`"));
    };
    let path = path_from_text(path);
    let started = Instant::now();
    let extracting = async {
        let probe = tools.ffmpeg.probe(&path).await?;
        let extraction = tools.ffmpeg.extract(&path, &probe, tools.frames).await?;
        Ok(Extracted { probe, extraction, secs: started.elapsed().as_secs_f64() })
    };
    let extracted = match extracting.await {
        Ok(extracted) => extracted,
        Err(error) => return Err(media_failure(error, &claim).await?),
    };

    let mut transaction = context.begin().await?;
    if !context.is_dry_run() {
        L::write_extracted(&mut transaction, &claim.video_id, &extracted).await?;
    }
    Ok(claim.complete_in(transaction).await?)
}

/// EMBEDDING: one vector from the frames, written in the transaction that completes the item.
async fn embed<L: Library>(
    library: &L,
    tools: &Tools,
    context: Context<L::Store, QueuedVideo>,
    claim: Claim<QueuedVideo>,
) -> Result<Settled, Failure> {
    let started = Instant::now();
    let frames = library.frames(&claim.video_id).await?;
    if frames.is_empty() {
        return Err(Failure::permanent("its frames are gone: take it again with `rowlock-video retry ID`"));
    }
    let embedder = tools.embedder.clone();
    let embedding = tokio::task::spawn_blocking(move || embedder.embed(&frames)).await?.map_err(model_failure)?;
    let secs = started.elapsed().as_secs_f64();

    let mut transaction = context.begin().await?;
    if !context.is_dry_run() {
        L::write_embedding(&mut transaction, &claim.video_id, &embedding, secs).await?;
    }
    Ok(claim.complete_in(transaction).await?)
}

/// Whose fault it is: the disk's, the machine's, or the file's. A time-out and a crash are the file's own if the
/// previous attempt ended in one as well.
async fn media_failure(error: MediaError, video: &QueuedVideo) -> Result<Failure, Failure> {
    if matches!(error, MediaError::Missing { .. } | MediaError::Away { .. })
        && let Some(root) = video.root.as_deref().map(path_from_text)
        && let Some(absence) = tokio::task::spawn_blocking(move || absence_of_root(&root)).await?
    {
        return Ok(Failure::outage(absence));
    }
    let (transient, is_away) = (error.is_transient(), matches!(error, MediaError::Away { .. }));
    let last_error = video.error_message.as_deref();
    let repeated = error.is_the_files_own_when_repeated() && last_error.is_some_and(MediaError::is_message_of_such);
    // By `From`, so that the message includes the sources.
    let failure = Failure::from(error);
    Ok(if is_away {
        Failure::suspected_outage(failure.message())
    } else if repeated {
        Failure::permanent(format!("{}, for the second time", failure.message()))
    } else if transient {
        failure
    } else {
        Failure::permanent(failure.message())
    })
}

/// The model computes the same result from the same frames each time.
fn model_failure(error: EmbeddingError) -> Failure {
    Failure::permanent(Failure::from(error).message())
}
