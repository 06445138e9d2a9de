//! The engine's messages while it works, on the standard error, beside the progress bars.

use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;

use indicatif::MultiProgress;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Command;
use super::output::print_error;
use super::secrets::scrubbed;
use super::terminal::shown;

/// The bars, which make room for each line.
pub(crate) static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Starts to log. `RUST_LOG` can choose other messages.
pub(crate) fn start(command: &Command) {
    let default = match command {
        Command::Work { .. } => "warn,rowlock=info",
        // The table at the end says what a run did.
        Command::Run { .. } => "warn,rowlock=info,rowlock::worker::thread=warn,rowlock::worker::listener=warn",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Line(Vec::new()));
    // A person who starts a fleet collects its logs, with times and names; a person who watches a run wants sentences.
    if matches!(command, Command::Work { .. }) {
        builder.with_ansi(false).init();
    } else {
        builder.with_ansi(false).event_format(Sentence).init();
    }
}

/// Prints a line for people on the standard error.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let line = line.to_string();
    BARS.suspend(|| print_error(format_args!("{}", shown(&scrubbed(&line)))));
}

/// Collects a line, and prints it as a whole.
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let line = String::from_utf8_lossy(&self.0);
        BARS.suspend(|| print_error(format_args!("{}", shown(&scrubbed(line.trim_end())))));
    }
}

/// A message and its fields only.
struct Sentence;

impl<S, N> FormatEvent<S, N> for Sentence
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match *event.metadata().level() {
            Level::ERROR => write!(writer, "error: ")?,
            Level::WARN => write!(writer, "warning: ")?,
            _ => {}
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
