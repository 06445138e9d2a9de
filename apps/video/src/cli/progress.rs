//! The progress of the work: a bar for each stage, or plain lines if the output is not a terminal.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rowlock::Status;
use rowlock::store::{Counts, StatusCount};
use rowlock_video::library::{Library, Videos};

use super::logging::{BARS, say};
use super::table::file_name;

/// Bars move this often.
const BAR_INTERVAL: Duration = Duration::from_millis(500);

/// Lines come at most this often, so that a log stays a log.
const LINE_INTERVAL: Duration = Duration::from_secs(3);

/// Something that takes longer than this is named.
const LONG: Duration = Duration::from_secs(10);

/// Enough to find the one that has been running longest.
const HELD_READ_MAX: usize = 100;

const BAR: &str = "{prefix:<12} {bar:30} {pos}/{len} {msg}";

/// The progress of one stage.
struct Stage {
    name: String,
    bar: Option<ProgressBar>,
    /// The most items that were ever left: other processes may add more.
    total: u64,
    done: u64,
    said: Option<u64>,
    said_at: Instant,
}

/// Shows progress for as long as it is polled. It is read from the database, and so includes the work of other
/// processes.
pub(crate) async fn show<L: Library>(videos: &Videos<L>, library: &L) {
    let started = Instant::now();
    let on_terminal = std::io::stderr().is_terminal();
    let mut stages: Vec<Stage> = Vec::new();
    for stage in videos.pipeline().stages() {
        let bar = on_terminal.then(|| {
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            BARS.add(ProgressBar::new(0).with_style(style).with_prefix(stage.name().to_owned()))
        });
        stages.push(Stage {
            name: stage.name().to_owned(),
            bar,
            total: 0,
            done: 0,
            said: None,
            said_at: Instant::now(),
        });
    }
    loop {
        // The worker reports errors.
        if let Ok((counts, left)) = items_left::<L>(videos).await {
            let waits = waiting::<L>(videos, library, &counts).await.unwrap_or_default();
            for ((stage, left), waits) in stages.iter_mut().zip(left).zip(waits) {
                stage.advance(left, started.elapsed(), &waits);
            }
        }
        tokio::time::sleep(if on_terminal { BAR_INTERVAL } else { LINE_INTERVAL }).await;
    }
}

/// For each stage, how many items still have to pass it. The count of a state stops at 10,000, so that past successes
/// cost nothing; only a larger backlog is counted to its end, which reads the table.
async fn items_left<L: Library>(videos: &Videos<L>) -> rowlock::Result<(Counts, Vec<u64>)> {
    let mut counts = videos.counts().await?;
    let is_cut_off = |entry: &StatusCount| entry.at_least && entry.status.is_some_and(|status| !status.is_terminal());
    if counts.statuses.iter().any(is_cut_off) {
        counts = videos.counts_exact().await?;
    }
    let mut left = 0;
    let mut all = Vec::new();
    for stage in videos.pipeline().stage_ids() {
        left += counts.count(Status::Ready(stage)) + counts.count(Status::InProgress(stage));
        all.push(u64::try_from(left).unwrap_or(0));
    }
    Ok((counts, all))
}

/// For each stage, what it waits for: the item that takes long, or the time at which the next one is due.
async fn waiting<L: Library>(videos: &Videos<L>, library: &L, counts: &Counts) -> rowlock_video::Result<Vec<String>> {
    let held = videos.held(HELD_READ_MAX).await?;
    let mut all = Vec::new();
    for stage in videos.pipeline().stage_ids() {
        let in_stage = held.iter().filter(|item| item.stage == stage);
        let oldest = in_stage.filter_map(|item| Some((item.claimed_at?, item))).min_by_key(|(since, _)| *since);
        let due = || counts.stages.iter().find(|counts| counts.stage == stage)?.next_due_at;
        all.push(match oldest {
            Some((since, item)) => {
                let secs = (counts.at - since).num_seconds().max(0);
                if secs < i64::try_from(LONG.as_secs()).unwrap_or(i64::MAX) {
                    String::new()
                } else {
                    let path = library.report(item.key.as_str()).await?.and_then(|report| report.path);
                    format!("{} for {secs} s", file_name(path.as_deref(), item.key.as_str()))
                }
            }
            None => match due() {
                Some(due) => format!("the next is due in {} s", (due - counts.at).num_seconds().max(1)),
                None => String::new(),
            },
        });
    }
    Ok(all)
}

impl Stage {
    fn advance(&mut self, left: u64, elapsed: Duration, waits: &str) {
        self.total = self.total.max(self.done + left);
        self.done = self.total - left;
        let parts = [pace(self.done, left, elapsed), waits.to_owned()];
        let message = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ");
        match &self.bar {
            Some(bar) => {
                bar.set_length(self.total);
                bar.set_position(self.done);
                bar.set_message(message);
            }
            None if self.total > 0 && self.is_news(waits) => {
                let message = if message.is_empty() { message } else { format!("  {message}") };
                say(format_args!("{} {}/{}{message}", self.name, self.done, self.total));
                self.said = Some(self.done);
                self.said_at = Instant::now();
            }
            None => {}
        }
    }

    /// Shows progress, and now and then what is waited for.
    fn is_news(&self, waits: &str) -> bool {
        self.said != Some(self.done) || (!waits.is_empty() && self.said_at.elapsed() >= LONG)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Rate and remaining time, once they can be estimated.
fn pace(done: u64, left: u64, elapsed: Duration) -> String {
    if done == 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let (done, left) = (done as f64, left as f64);
    let rate = done / elapsed.as_secs_f64().max(1e-3);
    if left < 1.0 { format!("{rate:.1}/s") } else { format!("{rate:.1}/s, {:.0} s left", (left / rate).max(1.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_a_rate_and_what_it_leaves() {
        assert_eq!(pace(0, 5, Duration::from_secs(1)), "");
        assert_eq!(pace(10, 5, Duration::from_secs(5)), "2.0/s, 2 s left");
        assert_eq!(pace(1000, 1, Duration::from_secs(5)), "200.0/s, 1 s left", "never 0 while something is left");
        assert_eq!(pace(10, 0, Duration::from_secs(5)), "2.0/s");
    }

    #[test]
    fn items_that_others_add_make_the_way_longer() {
        let mut stage =
            Stage { name: "S".to_owned(), bar: None, total: 0, done: 0, said: None, said_at: Instant::now() };
        for (left, expected) in [(4, (0, 4)), (1, (3, 4)), (6, (3, 9)), (0, (9, 9))] {
            stage.advance(left, Duration::from_secs(1), "");
            assert_eq!((stage.done, stage.total), expected);
        }
    }
}
