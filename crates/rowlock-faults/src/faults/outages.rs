//! What the outages of a server have in common: it is away for a while, again and again, and the handlers hand its errors back
//! by `?`. None of them may cost an attempt.

use std::ops::RangeInclusive;

use anyhow::Result;
use chrono::Utc;

use crate::arena::Scene;
use crate::report::Verdict;

/// Attacks with outages of so many milliseconds each, that begin and end by these.
pub(super) async fn attack<A>(
    mut scene: Scene,
    away_ms: RangeInclusive<u64>,
    begin: impl AsyncFn() -> Result<A>,
    end: impl AsyncFn(A) -> Result<()>,
) -> Result<Verdict> {
    scene.fleet.assignment_mut().hands_errors_back = true;
    scene.start()?;
    for _ in 0..scene.injections_wanted() {
        if !scene.is_busy_after(300..=1_000).await? {
            break;
        }
        let from = Utc::now();
        scene.injected();
        let away = begin().await?;
        scene.pause(away_ms.clone()).await?;
        end(away).await?;
        // A session reads a setting when it is idle, and who found no connection looks again after a moment.
        scene.pause(300..=300).await?;
        scene.afflicted_all_since(from);
    }
    scene.drain_and_judge().await
}
