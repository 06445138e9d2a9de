//! The common part of the outages: something is away for a while, again and again, and the handlers return the
//! resulting errors with `?`. None of them may cost an attempt.

use std::ops::RangeInclusive;

use anyhow::Result;
use chrono::Utc;

use crate::arena::Scene;
use crate::report::Verdict;

/// What begins an outage, what ends it, and how many milliseconds lie between.
pub(super) struct Outage<Begin, End> {
    pub(super) away_ms: RangeInclusive<u64>,
    pub(super) begin: Begin,
    pub(super) end: End,
}

/// Attacks with a few outages: each is long.
pub(super) async fn attack<Away>(
    mut scene: Scene,
    outage: Outage<impl AsyncFn() -> Result<Away>, impl AsyncFn(Away) -> Result<()>>,
) -> Result<Verdict> {
    scene.fleet.assignment_mut().hands_errors_back = true;
    scene.start()?;
    for _ in 0..scene.few_injections_wanted() {
        if !scene.is_busy_after(300..=1_000).await? {
            break;
        }
        let from = Utc::now();
        scene.injected();
        let away = (outage.begin)().await?;
        scene.pause(outage.away_ms.clone()).await?;
        (outage.end)(away).await?;
        // A session reads a setting when it is idle, and a client that found no connection looks again after a moment.
        scene.pause(300..=300).await?;
        scene.afflicted_all_since(from);
    }
    scene.drain_and_judge().await
}
