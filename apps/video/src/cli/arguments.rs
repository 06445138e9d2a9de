//! The arguments of the command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rowlock_video::media::FrameCount;
use rowlock_video::{UnknownStatus, VideoStatus};

/// The file of the queue without `--database`, in the current folder.
pub(crate) const DEFAULT_FILE: &str = "rowlock-video.sqlite";

/// Names the database if `--database` does not.
pub(crate) const DATABASE_VARIABLE: &str = "ROWLOCK_VIDEO_DATABASE";

const EXIT_CODES: &str = "\
Exit codes:
  0  all that was asked for is done
  1  some videos did not succeed, or could not be read, some ids were refused, or the work stopped early
  2  nothing was done: wrong usage, or the database, ffmpeg or the image model cannot be used
  3  the standard output was closed, or is full: what was worked on stays done";

/// The library's limit.
#[expect(clippy::cast_possible_wrap, reason = "a thousand")]
const JOBS_MAX: i64 = rowlock::limits::CONCURRENCY_MAX as i64;

/// Takes videos through EXTRACTION (ffmpeg: what they are, frames, thumbnail) and EMBEDDING (an image model: which
/// videos look alike), on PostgreSQL or on an SQLite file.
#[derive(Debug, Parser)]
#[command(name = "rowlock-video", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// postgres://… or sqlite://FILE; by default sqlite://rowlock-video.sqlite in the current folder.
    #[arg(long, global = true, value_name = "URL", env = DATABASE_VARIABLE, hide_env_values = true)]
    pub(crate) database: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add the videos at and under PATH and work until nothing is left. Finished work stays done.
    Run {
        /// Video files, and folders to search.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Follow symbolic links that lead out of the folders.
        #[arg(long)]
        follow_links: bool,
        #[command(flatten)]
        working: Working,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Work on the videos of the queue until stopped. Any number of processes and machines on one PostgreSQL.
    Work {
        #[command(flatten)]
        working: Working,
    },
    /// How many videos are in which state, and who holds what.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The videos and what is known about them.
    List {
        /// Only those in this state.
        #[arg(long, value_parser = parse_status)]
        status: Option<VideoStatus>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// One video: what is known about it, why it is or is not worked on, its failures.
    Show {
        /// Its id, as `list` shows it.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Which videos look alike.
    Similar {
        /// The video to compare the others with.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// Compare every video with every other one.
        #[arg(long)]
        all: bool,
        /// How many similar videos to show for each; 5, or 1 with --all.
        #[arg(long, value_name = "N")]
        top: Option<usize>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Requeue videos that failed or were cancelled, where they stopped; a succeeded one from the start.
    Retry {
        /// Their ids.
        #[arg(required_unless_present = "failed", conflicts_with = "failed")]
        ids: Vec<String>,
        /// All that have failed.
        #[arg(long)]
        failed: bool,
    },
    /// Run the next N videos through their stage and write nothing: the database refuses every write.
    DryRun {
        /// How many.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u16))]
        count: u16,
        /// Frames to take of each video.
        #[arg(long, value_name = "N", default_value = "8")]
        frames: FrameCount,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// How to work.
#[derive(Debug, Clone, Args)]
pub(crate) struct Working {
    /// Videos in each stage at once; by default one for each processor.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=JOBS_MAX))]
    jobs: Option<u16>,
    /// Frames to take of each video.
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) frames: FrameCount,
    /// How long a worker may be silent before its videos are taken back: the same for all workers of one database. They
    /// send a heartbeat three times as often.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) stale_after: Duration,
}

impl Working {
    pub(crate) fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(processors, usize::from)
    }
}

/// A status, in any letter case.
fn parse_status(word: &str) -> Result<VideoStatus, UnknownStatus> {
    word.to_ascii_uppercase().parse()
}

/// A number with a unit, as in `30s`; without a unit it is in seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("write it as 500ms, 30s, 5m or 1h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "write it as 500ms, 30s, 5m or 1h".to_owned())?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_status_may_be_written_in_any_case() {
        assert_eq!(parse_status("failed"), Ok(VideoStatus::Failed));
        assert_eq!(parse_status("Extraction_In_Progress"), Ok(VideoStatus::ExtractionInProgress));
        assert!(parse_status("done").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("3 weeks").is_err());
    }
}
