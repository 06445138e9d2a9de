//! The commands that read: `status`, `list`, `show`, `similar`.

use std::process::ExitCode;

use anyhow::Result;
use rowlock::store::Explanation;
use rowlock::{Pipeline, Record, Status};
use rowlock_video::embedding::most_similar;
use rowlock_video::library::{EmbeddedVideo, Library, QueuedVideo, VideoReport};
use serde_json::json;

use super::run::opened;
use super::table;

/// Videos read at a time.
const PAGE: i64 = 1_000;

pub(super) async fn status<L: Library>(library: L, json: bool) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let counts = opened(&library).await?.counts(true).await?;
    if json {
        let statuses: serde_json::Map<_, _> =
            counts.statuses.iter().map(|entry| (entry.word.clone(), json!(entry.count))).collect();
        println!("{}", serde_json::to_string_pretty(&statuses)?);
    } else {
        println!("{}", table::counts(&counts));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list<L: Library>(library: L, json: bool) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    opened(&library).await?;
    let reports = all_reports(&library, None).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        println!("{}", table::videos(&reports));
    }
    Ok(ExitCode::SUCCESS)
}

/// All videos in a state, or in any, in the order of their ids.
pub(super) async fn all_reports<L: Library>(library: &L, status_word: Option<&str>) -> Result<Vec<VideoReport>> {
    let mut reports: Vec<VideoReport> = Vec::new();
    loop {
        let after = reports.last().map(|report| report.video_id.clone()).unwrap_or_default();
        let page = library.reports(status_word, &after, PAGE).await?;
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < PAGE);
        reports.extend(page);
        if is_last {
            return Ok(reports);
        }
    }
}

pub(super) async fn show<L: Library>(library: L, id: &str, json: bool) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    let videos = opened(&library).await?;
    let (Some(report), Some(explanation)) = (library.report(id).await?, videos.explain(id).await?) else {
        eprintln!("there is no video {id:?}: `rowlock-video list` shows all");
        return Ok(ExitCode::from(1));
    };
    let failures = videos.failures(id).await?;
    let why = why(videos.pipeline(), &explanation);
    if json {
        let failures: Vec<_> = failures
            .iter()
            .map(|f| json!({"at": f.at, "status": f.word, "cause": f.cause, "holder": f.holder, "error": f.error}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({"video": report, "why": why, "failures": failures}))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", table::videos(&[report]));
    println!("{why}");
    for failure in failures {
        let holder = failure.holder.as_deref().unwrap_or("nobody");
        println!("{}  {} by {holder}: {}", failure.at.format("%F %T"), failure.cause, failure.error);
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a video is or is not worked on now, in sentences.
fn why(pipeline: &Pipeline, facts: &Explanation) -> String {
    let budgets = format!(
        "{} of {} failures and {} of {} resets are used up",
        facts.retry_count, facts.limits.max_retries, facts.reset_count, facts.limits.max_resets
    );
    let stage = |status: Status| status.stage().map_or("", |stage| pipeline.stage(stage).name());
    match facts.status {
        None => format!("its status {:?} is none of this pipeline's: it is left alone", facts.word),
        Some(Status::Succeeded) => "it is done".to_owned(),
        Some(Status::Failed | Status::Cancelled) => {
            let error = facts.error.as_deref().unwrap_or("no reason was given");
            format!("it stopped: {error}; `rowlock-video retry ID` takes it up again; {budgets}")
        }
        Some(status @ Status::InProgress(_)) => {
            let holder = facts.holder.as_deref().unwrap_or("somebody");
            let heard =
                facts.heartbeat_at.map_or("never".to_owned(), |at| format!("{} s ago", (facts.at - at).num_seconds()));
            format!(
                "{holder} works on its {}, heard from {heard}; after {} s of silence it is taken back; {budgets}",
                stage(status),
                facts.stale_after.as_secs()
            )
        }
        Some(status @ Status::Ready(_)) => {
            let stage = stage(status);
            let due = facts.retry_after.or(facts.created_at).filter(|due| *due > facts.at);
            let what = match due {
                _ if facts.paused => format!("{stage} is paused"),
                _ if facts.locked => "another transaction has its row locked".to_owned(),
                _ if facts.excluded => "the database refuses writes to its row".to_owned(),
                Some(due) => {
                    format!("it waits for {stage} until {} ({} s)", due.format("%F %T"), (due - facts.at).num_seconds())
                }
                None => format!("it can be claimed for {stage} now"),
            };
            format!("{what}; {budgets}")
        }
    }
}

pub(super) async fn similar<L: Library>(library: L, id: Option<&str>, top: usize, json: bool) -> Result<ExitCode>
where
    QueuedVideo: Record<L::Store>,
{
    opened(&library).await?;
    let all = library.embeddings().await?;
    let (targets, top): (Vec<&EmbeddedVideo>, usize) = match id {
        Some(id) => (all.iter().filter(|video| video.video_id == id).collect(), top),
        None => (all.iter().collect(), 1),
    };
    if let (Some(id), true) = (id, targets.is_empty()) {
        eprintln!("there is no video {id:?} with an embedding: `rowlock-video show {id}` says where it is");
        return Ok(ExitCode::from(1));
    }
    let mut rows = Vec::new();
    for target in targets {
        let others = all
            .iter()
            .filter(|other| other.video_id != target.video_id)
            .map(|other| (other.video_id.as_str(), &other.embedding));
        for similar in most_similar(&target.embedding, others, top) {
            rows.push((target.video_id.clone(), similar.key.to_owned(), similar.cosine));
        }
    }
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(video, like, cosine)| json!({"video_id": video, "like": like, "cosine": cosine}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", table::similar(&rows));
    }
    Ok(ExitCode::SUCCESS)
}
