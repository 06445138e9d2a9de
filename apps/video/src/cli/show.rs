//! `show`: one video.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rowlock::store::FailureRecord;
use rowlock_video::library::{Library, Videos};
use serde_json::json;

use super::explain::explain;
use super::print_json;
use super::table::{of_reports, or_dash, shown, table};

pub(crate) async fn show<L: Library>(videos: &Videos<L>, library: &L, id: &str, json: bool) -> Result<ExitCode> {
    let missing = || format!("there is no video {id:?}: `rowlock-video list` shows the ids");
    let report = library.report(id).await?.with_context(missing)?;
    let facts = videos.explain(id).await?.with_context(missing)?;
    let failures = videos.failures(id).await?;
    let reason = explain(&facts, videos.pipeline());
    if json {
        let failure = |failure: &FailureRecord| {
            json!({
                "at": failure.at,
                "in": failure.word,
                "cause": failure.cause,
                "holder": failure.holder,
                "error": failure.error,
            })
        };
        print_json(&json!({
            "video": report,
            "explanation": {
                "text": reason,
                "status": facts.word,
                "retry_count": facts.retry_count,
                "max_retries": facts.limits.max_retries,
                "reset_count": facts.reset_count,
                "max_resets": facts.limits.max_resets,
                "retry_after": facts.retry_after,
                "holder": facts.holder,
                "claimed_at": facts.claimed_at,
                "heartbeat_at": facts.heartbeat_at,
                "paused": facts.paused,
                "locked": facts.locked,
            },
            "failures": failures.iter().map(failure).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", of_reports(std::slice::from_ref(&report)));
    println!("path: {}", or_dash(report.path.as_deref().map(shown)));
    println!("now: {}", shown(&reason));
    println!(
        "attempts failed: {} of {}; taken back: {} of {} times",
        facts.retry_count, facts.limits.max_retries, facts.reset_count, facts.limits.max_resets
    );
    if !failures.is_empty() {
        let mut rows = table(["failed at", "in", "by", "holder", "error"]);
        for failure in &failures {
            rows.add_row([
                failure.at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                shown(&failure.word),
                failure.cause.clone(),
                or_dash(failure.holder.as_deref().map(shown)),
                shown(&failure.error),
            ]);
        }
        println!("{rows}");
    }
    Ok(ExitCode::SUCCESS)
}
