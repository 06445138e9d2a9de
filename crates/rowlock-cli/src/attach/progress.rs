//! The progress of a plan, on the standard error.

use rowlock::store::AttachEvent;

use super::plan::title;
use crate::output::{print_error, shown};

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Tenths of a step that were told.
    tenths: u64,
}

impl Progress {
    /// Prints what happened, if it is news.
    pub(super) fn tell(&mut self, event: AttachEvent<'_>) {
        if let Some(line) = self.line(event) {
            print_error(format_args!("{}", shown(&line)));
        }
    }

    fn line(&mut self, event: AttachEvent<'_>) -> Option<String> {
        match event {
            AttachEvent::Waiting => Some("waiting for another process that attaches a table here".to_owned()),
            AttachEvent::Began { step, number, of } => {
                self.tenths = 0;
                Some(format!("[{number}/{of}] {} {}", title(step.kind), step.object))
            }
            AttachEvent::Retried { tries, .. } => {
                // The first, the tenth, and every hundredth.
                let is_news = tries == 1 || tries == 10 || tries.is_multiple_of(100);
                is_news.then(|| format!("  others are using it: tried {tries} times, and again"))
            }
            AttachEvent::Progressed { done, of, .. } => {
                let tenths = done.saturating_mul(10) / of.max(1);
                let is_news = tenths > self.tenths;
                self.tenths = self.tenths.max(tenths);
                is_news.then(|| format!("  {} %", tenths.min(10) * 10))
            }
            AttachEvent::Done { took, .. } => {
                // What was quick needs no second line.
                (took.as_secs() >= 1).then(|| format!("  done in {:.1} s", took.as_secs_f64()))
            }
            _ => None,
        }
    }
}
