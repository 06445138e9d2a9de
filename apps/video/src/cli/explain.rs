//! Why a video is or is not worked on now, in words. Pure.

use rowlock::Pipeline;
use rowlock::store::{Explanation, Verdict};

/// The meaning of the engine's facts about an item, and the command that helps.
pub(crate) fn explain(facts: &Explanation, pipeline: &Pipeline) -> String {
    match facts.verdict(pipeline) {
        verdict @ (Verdict::Failed { .. } | Verdict::Cancelled { .. }) => format!("{verdict} (`rowlock-video retry`)"),
        verdict => verdict.to_string(),
    }
}
