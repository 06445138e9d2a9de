//! The commands that change something: `run`, `work`, `retry`, `dry-run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rowlock::store::Listing;
use rowlock::{Key, Record, Repository, Status};
use rowlock_video::embedding::{Embedder, model_path};
use rowlock_video::library::{Library, QueuedVideo, Videos, add_videos};
use rowlock_video::media::{Ffmpeg, FrameCount, discover};
use rowlock_video::processing::{Tools, worker};

use super::progress::Progress;
use super::read::all_reports;
use super::table;

/// What the handlers need, found before anything is claimed.
pub(super) async fn tools(frames: FrameCount) -> Result<Tools> {
    let ffmpeg = Ffmpeg::find().await?;
    let path = model_path();
    let embedder = tokio::task::spawn_blocking(move || Embedder::load(&path)).await??;
    Ok(Tools { ffmpeg, embedder, frames })
}

/// Adds what is new under the paths, works until nothing is left, and prints what became of each video.
pub(super) async fn run<L: Library>(
    library: L,
    tools: Tools,
    paths: &[PathBuf],
    jobs: usize,
    json: bool,
) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let searched = paths.to_vec();
    let discovery = tokio::task::spawn_blocking(move || discover(&searched)).await??;
    for problem in &discovery.problems {
        eprintln!("cannot read {}: {}", problem.path.display(), problem.error);
    }
    let videos = prepare(&library).await?;
    let added = add_videos(&videos, &library, &discovery.videos).await?;
    eprintln!(
        "{} videos found: {} new, {} changed, {} known already",
        discovery.videos.len(),
        added.new,
        added.changed,
        added.same
    );
    let progress = Progress::start(videos.clone());
    let printer = progress.printer();
    let report = worker(videos.clone(), library.clone(), tools, jobs)
        .on_wait(move |waiting| printer.say(&format!("waiting: {waiting}")))
        .run_until_idle()
        .await;
    progress.stop().await;
    let report = report?;
    if report.swept > 0 {
        eprintln!("{} videos were taken back from workers that had stopped", report.swept);
    }
    for (word, items) in &report.remaining.unknown_words {
        eprintln!("{items} videos have the status {word:?}, which is none of this pipeline's: left alone");
    }
    for stage in &report.remaining.paused {
        eprintln!("{} videos wait for {}, which is paused", stage.items, stage.name);
    }
    let reports = all_reports(&library, None).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        println!("{}", table::videos(&reports));
    }
    let all_succeeded = reports.iter().all(|video| video.status == "SUCCEEDED");
    Ok(if all_succeeded && discovery.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Works until a signal says to stop.
pub(super) async fn work<L: Library>(library: L, tools: Tools, jobs: usize) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let videos = prepare(&library).await?;
    println!("working as {}", videos.holder());
    let report = worker(videos, library, tools, jobs)
        .on_failed(|failed| async move { eprintln!("{} failed: {}", failed.key, failed.error) })
        .run()
        .await?;
    println!(
        "stopped: {} stages completed, {} attempts retried, {} videos failed, {} released, {} leases lost, {} taken back",
        report.completed, report.retried, report.failed, report.released, report.lost, report.swept
    );
    Ok(ExitCode::SUCCESS)
}

/// Takes stopped videos up again where they stopped.
pub(super) async fn retry<L: Library>(library: L, ids: Vec<String>, failed: bool) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let videos = opened(&library).await?;
    let mut keys: Vec<Key> = ids.into_iter().map(Key::from).collect();
    if failed {
        let mut listing = Listing { status: Some(Status::Failed), after: None, limit: 1_000 };
        loop {
            let (items, next) = videos.list(&listing).await?;
            keys.extend(items.into_iter().map(|item| item.key));
            match next {
                Some(next) => listing.after = Some(next),
                None => break,
            }
        }
    }
    let mut code = ExitCode::SUCCESS;
    for key in keys {
        match videos.requeue(key.clone(), None).await {
            Ok(to) => println!("{}: {}", key.as_str(), videos.pipeline().word(to)),
            Err(error) => {
                eprintln!("{error}");
                code = ExitCode::from(1);
            }
        }
    }
    Ok(code)
}

/// Runs the handlers on what would be next; the database refuses every write.
pub(super) async fn dry_run<L: Library>(library: L, tools: Tools, count: i64, json: bool) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let videos = opened(&library).await?;
    let results = worker(videos.clone(), library, tools, 1).dry_run(count).await?;
    let mut failed = false;
    let mut lines = Vec::new();
    for result in &results {
        let stage = videos.pipeline().stage(result.stage).name();
        let (outcome, error) = match &result.result {
            Ok(_) => ("would complete", None),
            Err(failure) if failure.is_permanent() => ("would fail", Some(failure.message())),
            Err(failure) => ("would be retried", Some(failure.message())),
        };
        failed |= error.is_some();
        if json {
            let line = serde_json::json!({
                "video_id": result.key.as_str(), "stage": stage, "outcome": outcome, "error": error
            });
            lines.push(line);
        } else {
            println!(
                "{}: {stage} {outcome}{}",
                result.key.as_str(),
                error.map(|e| format!(": {e}")).unwrap_or_default()
            );
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
    } else if results.is_empty() {
        println!("nothing is ready");
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The tables, made or completed.
async fn prepare<L: Library>(library: &L) -> Result<Videos<L>>
where
    QueuedVideo: Record<L::Store>,
{
    library.migrate().await?;
    let videos = Repository::new(library.store().clone());
    videos.prepare().await.context("the queue's table cannot be used")?;
    Ok(videos)
}

/// A repository over tables that are there already.
pub(super) async fn opened<L: Library>(library: &L) -> Result<Videos<L>> {
    if !library.is_migrated().await? {
        bail!("the database has no videos yet: add some with `rowlock-video run PATH --database URL`");
    }
    Ok(Repository::new(library.store().clone()))
}
