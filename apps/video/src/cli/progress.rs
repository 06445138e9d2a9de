//! Live progress: a bar for each stage on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rowlock::{Repository, StageId, Status, Store};
use tokio::task::JoinHandle;

/// Time between two looks at the counts.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Shows how far each stage is until it is stopped.
pub(super) struct Progress {
    bars: Option<MultiProgress>,
    task: JoinHandle<()>,
}

/// Prints a line without tearing the bars.
#[derive(Clone)]
pub(super) struct Printer(Option<MultiProgress>);

impl Printer {
    pub(super) fn say(&self, line: &str) {
        match &self.0 {
            Some(bars) if bars.println(line).is_ok() => {}
            _ => eprintln!("{line}"),
        }
    }
}

impl Progress {
    pub(super) fn start<S: Store, R: 'static>(videos: Repository<S, R>) -> Progress {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        let task = tokio::spawn(follow(videos, bars.clone()));
        Progress { bars, task }
    }

    pub(super) fn printer(&self) -> Printer {
        Printer(self.bars.clone())
    }

    pub(super) async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
        if let Some(bars) = self.bars {
            let _ = bars.clear();
        }
    }
}

async fn follow<S: Store, R: 'static>(videos: Repository<S, R>, bars: Option<MultiProgress>) {
    let stages: Vec<StageId> = videos.pipeline().stage_ids().collect();
    let style = ProgressStyle::with_template("{prefix:<12} {wide_bar} {pos}/{len}  {per_sec}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let shown: Vec<ProgressBar> =
        bars.iter().flat_map(|bars| stages.iter().map(|_| bars.add(ProgressBar::new(0)))).collect();
    for (bar, stage) in shown.iter().zip(&stages) {
        bar.set_style(style.clone());
        bar.set_prefix(videos.pipeline().stage(*stage).name().to_owned());
    }
    let mut last = String::new();
    loop {
        // A database that is away is the worker's business; the bars just stand still.
        if let Ok(counts) = videos.counts(true).await {
            let total: i64 = counts.statuses.iter().map(|entry| entry.count).sum();
            let mut line = Vec::new();
            for (index, stage) in stages.iter().enumerate() {
                // What stopped has no stage; it counts as through.
                let before: i64 = stages[..=index]
                    .iter()
                    .map(|earlier| counts.count(Status::Ready(*earlier)) + counts.count(Status::InProgress(*earlier)))
                    .sum();
                let through = total - before;
                if let Some(bar) = shown.get(index) {
                    bar.set_length(total.unsigned_abs());
                    bar.set_position(through.unsigned_abs());
                }
                line.push(format!("{} {through}/{total}", videos.pipeline().stage(*stage).name()));
            }
            let line = line.join(", ");
            if shown.is_empty() && line != last {
                eprintln!("{line}");
                last = line;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
