//! Every limit in one place, each with the reason for its size.

use std::time::Duration;

/// PostgreSQL cuts longer identifiers off silently, so that two names could become one.
pub const IDENTIFIER_BYTES_MAX: usize = 63;

/// Status words are compared on every claim and stored in every row and index entry.
pub const STATUS_WORD_BYTES_MAX: usize = 63;

/// More stages than this is a workflow engine's job; each stage adds two words to every index predicate.
pub const STAGES_MAX: usize = 64;

/// Items in one claim, finish or sweep statement. Beyond it a statement holds its row locks for too long.
pub const BATCH_ITEMS_MAX: usize = 1_000;

/// Bytes of an error message that are stored: enough for a trace's top, small enough to stay in the row's page.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 4_096;

/// Failures kept for each item; older ones are pruned in the statement that adds one.
pub const FAILURES_KEPT_MAX: usize = 20;

/// Attempts for which a retry policy is tabulated; later ones use the last delay.
pub const RETRY_TABLE_ATTEMPTS_MAX: usize = 64;

/// No delay is longer than a year: beyond it an item is lost in all but name.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Counts are exact up to here; beyond it a count would read the whole table.
pub const COUNT_EXACT_MAX: i64 = 10_000;

/// Items in one page of `list`.
pub const PAGE_ITEMS_MAX: i64 = 1_000;

/// Keys that this process leaves out of its claims because the database refused every write to their rows.
/// Each is a filter on every row that a claim reads.
pub const EXCLUDED_KEYS_MAX: usize = 100;

/// How long such a key is left out. Then it is tried again: somebody may have mended the row.
pub const EXCLUDED_FOR: Duration = Duration::from_secs(300);

/// Longest wait of one verb, on the client and on the server, unless a third of `stale_after` is shorter.
pub const VERB_DEADLINE: Duration = Duration::from_secs(30);

/// How often a verb that met a transient error is tried before the error is returned.
pub const VERB_ATTEMPTS_MAX: u32 = 6;

/// First wait between two such attempts; doubled each time, with jitter.
pub const VERB_BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Longest wait between two such attempts.
pub const VERB_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Longest run of `prepare`: an index over ten million rows takes a minute.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(600);

/// Reading connections of one SQLite store; each has a thread, and a page cache of 2 MB.
pub const SQLITE_READERS: usize = 4;
