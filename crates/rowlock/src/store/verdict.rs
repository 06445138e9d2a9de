//! Whether an item can be claimed now, and if not, why: in a sentence for people.

use std::fmt;
use std::time::Duration;

/// Whether an item can be claimed now, and if not, why. `Display` makes it a sentence for people.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The next claim for its stage that gets this far down the queue takes it.
    Claimable {
        /// The stage's name.
        stage: String,
        /// The rest of its budgets.
        left: BudgetsLeft,
        /// One more reset would be its last: only a worker that holds nothing else takes it.
        suspect: bool,
    },
    /// It is not due yet.
    Waiting {
        /// The stage's name.
        stage: String,
        /// The time until it is due.
        due_in: Duration,
        /// It waits because the row's creation time is in the future, and not because of a delay.
        created_later: bool,
        /// The rest of its budgets.
        left: BudgetsLeft,
    },
    /// It will never be due: its due time, or the row's creation time, is `infinity` or on the last day that counts.
    NeverDue {
        /// The stage's name.
        stage: String,
        /// The row's creation time causes this, and not a delay.
        created_later: bool,
    },
    /// It is not due, because the time at which it would be due cannot be read.
    UnreadableTime {
        /// The stage's name.
        stage: String,
        /// The column of that time.
        column: String,
        /// The text in that column.
        text: String,
    },
    /// Claims for its stage are stopped.
    Paused {
        /// The stage's name.
        stage: String,
    },
    /// The pipeline's condition on what is claimed does not hold for its row.
    Unwanted {
        /// The stage's name.
        stage: String,
        /// The condition.
        condition: String,
    },
    /// Another transaction has its row locked: claims skip it.
    Locked {
        /// The stage's name.
        stage: String,
    },
    /// This process leaves it out for a while because the database refuses changes to its row.
    Excluded {
        /// The stage's name.
        stage: String,
    },
    /// It is ready, but at a limit: the claim that meets it makes it `FAILED`.
    Exhausted {
        /// The stage's name.
        stage: String,
        /// The limit that it has reached.
        limit: Limit,
    },
    /// A holder works on it.
    Held {
        /// The stage's name.
        stage: String,
        /// The holder's name, as the claim wrote it.
        holder: Option<String>,
        /// How long it has been held; `None` if the row does not say, or says a time in the future.
        held_for: Option<Duration>,
        /// How long ago its last heartbeat was; `None` in the same cases.
        silent_for: Option<Duration>,
        /// How far in the future the claim is, for instance after a clock was set back.
        claimed_ahead_by: Option<Duration>,
        /// How far in the future the heartbeat is.
        heartbeat_ahead_by: Option<Duration>,
        /// The heartbeat is missing, too old, or as far in the future: the next sweep takes it back.
        stale: bool,
    },
    /// It failed.
    Failed {
        /// The limit that ended it; `None` if it failed for good, or was set to failed by an operator.
        limit: Option<Limit>,
        /// The name of the stage at which a requeue makes it ready again.
        resume: String,
    },
    /// An operator cancelled it.
    Cancelled {
        /// The name of the stage at which a requeue makes it ready again.
        resume: String,
    },
    /// It has completed the last stage.
    Succeeded,
    /// Its status is not a word of the pipeline: it is left alone.
    Unknown {
        /// The word that the table has; empty for NULL.
        word: String,
    },
}

/// The rest of an item's budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetsLeft {
    /// Failures that its handlers may still report; the last of them is final.
    pub retries: u32,
    /// Times that it may still be taken back; the last of them is final.
    pub resets: u32,
}

/// A limit of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// `max_retries`, with its value.
    Retries(u32),
    /// `max_resets`, with its value.
    Resets(u32),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Claimable { stage, left, suspect: false } => {
                write!(f, "ready for {stage}: the next worker with a free slot takes it ({left})")
            }
            Verdict::Claimable { stage, left, suspect: true } => write!(
                f,
                "ready for {stage}, but one more reset is its last: the next worker that holds nothing else takes it \
                 ({left})"
            ),
            Verdict::Waiting { stage, due_in, created_later, left } => {
                let why = if *created_later { ", at its creation time" } else { "" };
                write!(f, "waits for {stage}, and is due in {}{why} ({left})", Span(*due_in))
            }
            Verdict::NeverDue { stage, created_later } => {
                let which = if *created_later { "its creation time" } else { "its due time" };
                write!(f, "waits for {stage}, and is never due: {which} is infinity, or the end of the year 9999")
            }
            Verdict::UnreadableTime { stage, column, text } => {
                write!(
                    f,
                    "waits for {stage}, and is never due: {column:?} holds {text:?}, which is no time that can be read"
                )
            }
            Verdict::Paused { stage } => write!(f, "ready for {stage}, which is paused"),
            Verdict::Locked { stage } => {
                write!(f, "ready for {stage}, but another transaction has its row locked just now")
            }
            Verdict::Unwanted { stage, condition } => {
                write!(f, "ready for {stage}, but the pipeline takes only rows for which {condition}")
            }
            Verdict::Excluded { stage } => {
                write!(f, "ready for {stage}, but the database refuses to have its row changed")
            }
            Verdict::Exhausted { stage, limit } => {
                write!(f, "ready for {stage}, but {limit} is reached: the next claim makes it FAILED")
            }
            Verdict::Held { stage, holder, held_for, silent_for, claimed_ahead_by, heartbeat_ahead_by, stale } => {
                write!(f, "{} has had it in {stage}", holder.as_deref().unwrap_or("(unknown)"))?;
                match (held_for, claimed_ahead_by) {
                    (_, Some(ahead)) => write!(f, " since a time that lies {} in the future", Span(*ahead))?,
                    (Some(held_for), None) => write!(f, " for {}", Span(*held_for))?,
                    (None, None) => {}
                }
                match (silent_for, heartbeat_ahead_by) {
                    (_, Some(ahead)) => write!(f, "; its heartbeat lies {} in the future", Span(*ahead))?,
                    (Some(silent_for), None) => write!(f, "; last heartbeat {} ago", Span(*silent_for))?,
                    (None, None) => f.write_str("; there is no heartbeat")?,
                }
                if *stale { f.write_str(": the next sweep takes it back") } else { Ok(()) }
            }
            Verdict::Failed { limit: Some(limit), resume } => {
                write!(f, "failed, because {limit} was reached; a requeue takes it up again at {resume}")
            }
            Verdict::Failed { limit: None, resume } => {
                write!(f, "failed for good; a requeue takes it up again at {resume}")
            }
            Verdict::Cancelled { resume } => write!(f, "cancelled; a requeue takes it up again at {resume}"),
            Verdict::Succeeded => f.write_str("done"),
            Verdict::Unknown { word } => {
                write!(f, "its status {word:?} is no word of the pipeline: it is left alone")
            }
        }
    }
}

impl fmt::Display for BudgetsLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u32| if count == 1 { "" } else { "s" };
        let (retries, resets) = (self.retries, self.resets);
        write!(f, "{retries} attempt{} and {resets} reset{} left", plural(retries), plural(resets))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Retries(limit) => write!(f, "max_retries ({limit})"),
            Limit::Resets(limit) => write!(f, "max_resets ({limit})"),
        }
    }
}

/// A duration as people say it: rounded down.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", seconds / 60),
            7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            _ => write!(f, "{} d", seconds / 86_400),
        }
    }
}
