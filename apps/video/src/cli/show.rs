//! `show`: one video.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rowlock::store::FailureRecord;
use rowlock_video::library::{Library, Videos};
use rowlock_video::media::path_from_text;
use serde_json::json;

use super::explain::explain;
use super::table::{of_reports, or_dash, shown, table};
use super::{print, print_json};

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
    print(format_args!("{}", of_reports(std::slice::from_ref(&report))))?;
    print(format_args!(
        "path: {}",
        or_dash(report.path.as_deref().map(|path| shown(&path_from_text(path).to_string_lossy())))
    ))?;
    print(format_args!("now: {}", shown(&reason)))?;
    print(format_args!(
        "attempts failed: {} of {}; taken back: {} of {} times",
        facts.retry_count, facts.limits.max_retries, facts.reset_count, facts.limits.max_resets
    ))?;
    if !failures.is_empty() {
        let mut rows = table(["failed at", "what failed"]);
        for failure in &failures {
            rows.add_row([
                failure.at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                format!(
                    "{}, {}, by {}\n{}",
                    shown(&failure.word),
                    shown(&failure.cause),
                    or_dash(failure.holder.as_deref().map(shown)),
                    shown(&failure.error)
                ),
            ]);
        }
        print(format_args!("{rows}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
