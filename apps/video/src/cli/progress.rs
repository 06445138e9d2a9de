//! How far the work has come: a bar a stage, or plain lines where nobody watches.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rowlock::Status;
use rowlock::store::StatusCount;
use rowlock_video::library::{Library, Videos};

use super::logging::{BARS, say};

/// Bars move this often.
const BAR_INTERVAL: Duration = Duration::from_millis(500);

/// Lines come at most this often, so that a log stays a log.
const LINE_INTERVAL: Duration = Duration::from_secs(3);

const BAR: &str = "{prefix:<12} {bar:30} {pos}/{len} {msg}";

/// One stage's way.
struct Stage {
    name: String,
    bar: Option<ProgressBar>,
    /// The most items that were ever left: more may be added by others.
    total: u64,
    done: u64,
    said: Option<u64>,
}

/// Shows progress for as long as it is polled. It is read from the database, and so counts what other processes do.
pub(crate) async fn show<L: Library>(videos: &Videos<L>) {
    let started = Instant::now();
    let on_terminal = std::io::stderr().is_terminal();
    let mut stages: Vec<Stage> = Vec::new();
    for stage in videos.pipeline().stages() {
        let bar = on_terminal.then(|| {
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            BARS.add(ProgressBar::new(0).with_style(style).with_prefix(stage.name().to_owned()))
        });
        stages.push(Stage { name: stage.name().to_owned(), bar, total: 0, done: 0, said: None });
    }
    loop {
        // An error is the worker's to report.
        if let Ok(left) = items_left::<L>(videos).await {
            for (stage, left) in stages.iter_mut().zip(left) {
                stage.advance(left, started.elapsed());
            }
        }
        tokio::time::sleep(if on_terminal { BAR_INTERVAL } else { LINE_INTERVAL }).await;
    }
}

/// For each stage how many items still have to pass it. Counting stops at 10,000 a state, so that the successes of the
/// past cost nothing; only a larger backlog than that is counted to its end, which reads the table.
async fn items_left<L: Library>(videos: &Videos<L>) -> rowlock::Result<Vec<u64>> {
    let mut counts = videos.counts(false).await?;
    let is_cut_off = |entry: &StatusCount| entry.at_least && entry.status.is_some_and(|status| !status.is_terminal());
    if counts.statuses.iter().any(is_cut_off) {
        counts = videos.counts(true).await?;
    }
    let mut left = 0;
    let mut all = Vec::new();
    for stage in videos.pipeline().stage_ids() {
        left += counts.count(Status::Ready(stage)) + counts.count(Status::InProgress(stage));
        all.push(u64::try_from(left).unwrap_or(0));
    }
    Ok(all)
}

impl Stage {
    fn advance(&mut self, left: u64, elapsed: Duration) {
        self.total = self.total.max(self.done + left);
        self.done = self.total - left;
        let pace = pace(self.done, left, elapsed);
        match &self.bar {
            Some(bar) => {
                bar.set_length(self.total);
                bar.set_position(self.done);
                bar.set_message(pace);
            }
            None if self.total > 0 && self.said != Some(self.done) => {
                say(format_args!(
                    "{} {}/{}{}{pace}",
                    self.name,
                    self.done,
                    self.total,
                    if pace.is_empty() { "" } else { "  " }
                ));
                self.said = Some(self.done);
            }
            None => {}
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Rate and remaining time, once there is something to tell them by.
fn pace(done: u64, left: u64, elapsed: Duration) -> String {
    if done == 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (done, left) = (done as f64, left as f64);
    let rate = done / elapsed.as_secs_f64().max(1e-3);
    format!("{rate:.1}/s, {:.0} s left", left / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_a_rate_and_what_it_leaves() {
        assert_eq!(pace(0, 5, Duration::from_secs(1)), "");
        assert_eq!(pace(10, 5, Duration::from_secs(5)), "2.0/s, 2 s left");
    }

    #[test]
    fn items_that_others_add_make_the_way_longer() {
        let mut stage = Stage { name: "S".to_owned(), bar: None, total: 0, done: 0, said: None };
        for (left, expected) in [(4, (0, 4)), (1, (3, 4)), (6, (3, 9)), (0, (9, 9))] {
            stage.advance(left, Duration::from_secs(1));
            assert_eq!((stage.done, stage.total), expected);
        }
    }
}
