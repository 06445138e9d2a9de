//! Why a video is or is not worked on now, in words. Pure.

use rowlock::store::Explanation;
use rowlock::{Pipeline, Status};

use super::status::age;

/// What the engine's facts about an item mean.
pub(crate) fn explain(facts: &Explanation, pipeline: &Pipeline) -> String {
    let Some(status) = facts.status else {
        return format!("its status {:?} is unknown to the pipeline: it is left alone", facts.word);
    };
    match status {
        Status::Succeeded => "it is done".to_owned(),
        Status::Failed | Status::Cancelled => {
            let stage = facts.resume.and_then(Status::stage).map(|stage| pipeline.stage(stage).name());
            format!("it has stopped; `rowlock-video retry` takes it up again at {}", stage.unwrap_or("its first stage"))
        }
        Status::InProgress(stage) => {
            let holder = facts.holder.as_deref().unwrap_or("(unknown)");
            let stage = pipeline.stage(stage).name();
            let since = facts.claimed_at.map(|at| format!(" for {}", age(at, facts.at))).unwrap_or_default();
            let beat = facts.heartbeat_at.map_or_else(
                || "there is no heartbeat: the next worker takes it back".to_owned(),
                |beat| format!("last heartbeat {} ago", age(beat, facts.at)),
            );
            format!("{holder} has had it in {stage}{since}; {beat}")
        }
        Status::Ready(stage) => explain_ready(facts, pipeline.stage(stage).name()),
    }
}

fn explain_ready(facts: &Explanation, stage: &str) -> String {
    // Without a due time an item is ready since it was made; one that was made in the future waits for that.
    let due = facts.retry_after.or(facts.created_at).filter(|due| *due > facts.at);
    if facts.retry_count >= facts.limits.max_retries || facts.reset_count >= facts.limits.max_resets {
        format!("it is ready for {stage}, but its attempts are spent: the next claim makes it FAILED")
    } else if facts.excluded {
        format!("it is ready for {stage}, but the database refuses to have its row changed")
    } else if facts.paused {
        format!("it is ready for {stage}, which is paused")
    } else if let Some(due) = due {
        format!("it waits for {stage}, and is due in {}", age(facts.at, due))
    } else if facts.locked {
        format!("it is ready for {stage}, but another transaction has its row locked just now")
    } else {
        format!("it is ready for {stage}: the next worker with a free slot takes it")
    }
}
