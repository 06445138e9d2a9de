//! The limits in one place, each with the reason for its size. A few others stand beside their only use.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// PostgreSQL silently truncates longer identifiers, so that two names could become one.
pub const IDENTIFIER_BYTES_MAX: usize = 63;

/// Status words are compared on every claim and stored in every row and index entry.
pub const STATUS_WORD_BYTES_MAX: usize = 63;

/// More stages than this is a workflow engine's job; each stage adds two words to every index predicate.
pub const STAGES_MAX: usize = 64;

/// Items in one claim, finish or sweep statement. A larger statement would hold its row locks for too long.
pub const BATCH_ITEMS_MAX: usize = 1_000;

/// Bytes of an error message that are stored: enough for the top of a trace, few enough to stay in the row's page.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 4_096;

/// Characters that a column for holders must hold: a host name of 64, a process id, a random part.
pub(crate) const HOLDER_COLUMN_CHARS_MIN: usize = 96;

/// Failures kept for each item; older ones are pruned in the statement that adds one.
pub const FAILURES_KEPT_MAX: usize = 20;

/// Attempts for which a retry policy is tabulated; later attempts use the last delay.
pub const RETRY_TABLE_ATTEMPTS_MAX: usize = 64;

/// No delay is longer than a year: with a longer one the item would be as good as lost.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Counts are exact up to this number; an exact count beyond it would read the whole table.
pub const COUNT_EXACT_MAX: usize = 10_000;

/// Items of a state that an idle worker counts each time it looks what it waits for. It looks often, and all items may
/// be waiting.
pub const WAITING_COUNTED_MAX: usize = 1_000;

/// If a claim asks for at least this many items and gets all of them, the queue counts as full.
pub const QUEUE_FULL_ITEMS_MIN: i64 = 64;

/// How often a claim of a full queue begins at the queue's start; the claims between begin where the last one ended.
pub const QUEUE_LOOKED_AT_EVERY: Duration = Duration::from_millis(200);

/// If a claim from the start has to walk past many entries it is rarer: these claims take at most one part in this many
/// of the time.
pub const QUEUE_LOOKED_AT_SHARE: u32 = 40;

/// But never rarer than this: a claim may also have been slow for another reason, and items that returned to the queue
/// wait for the next one.
pub const QUEUE_LOOKED_AT_EVERY_MAX: Duration = Duration::from_secs(10);

/// Unknown words that are counted one by one; if a table has more of them it is not this pipeline's.
pub const UNKNOWN_WORDS_MAX: i64 = 1_000;

/// Values of a count with which `prepare` tries a `CHECK`, besides the limit itself: a constraint that allows these and
/// the limit forbids none between them.
pub const COUNTS_TRIED_MAX: u32 = 100;

/// Rows that `prepare` reads to see whether a column of times holds numbers: a program that writes numbers always
/// writes them.
pub const TIMES_LOOKED_AT_MAX: i64 = 1_000;

/// Items in one page of `list`.
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// Keys that this process leaves out of its claims because the database refused every write to their rows. A claim
/// compares each row that it reads with each of them: with this many at the head of the queue that takes about a
/// second.
pub const EXCLUDED_KEYS_MAX: usize = 10_000;

/// How long such a key is left out. Then it is tried again: the row may have been fixed.
pub const EXCLUDED_FOR: Duration = Duration::from_secs(300);

/// Single items of a failed batch that are tried, however long they take, before the fault counts as everybody's: this
/// many items from all over the batch are seldom bad by chance.
pub const LADDER_PROBES_MAX: usize = 5;

/// The same if their errors come at once: half of a bad batch is then hardly ever taken for all of it, and a missing
/// table costs no more than this many statements.
pub const LADDER_QUICK_PROBES_MAX: usize = 25;

/// The total time within which errors count as coming at once.
pub const LADDER_PROBES_FOR: Duration = Duration::from_millis(100);

/// Non-ASCII characters for which a store asks whether the database's encoding has them, after an error's text was
/// refused for its encoding: each is a statement. Characters beyond this number are replaced.
pub const TRANSLATED_CHARACTERS_MAX: usize = 64;

/// The longest statement for a part of a failed batch, unless a tenth of the verb's deadline is shorter. A part of
/// ordinary items takes milliseconds; to find a row that never ends takes as many time-outs as halvings.
pub const LADDER_STATEMENT_MAX: Duration = Duration::from_secs(1);

/// Items in a row that become `FAILED` because the database refuses them for the same cause. If more are refused and
/// none passes in between, the mistake is in a deploy and not in the rows.
pub const REFUSED_ALIKE_MAX: usize = 10;

/// The longest wait of one verb, on the client and on the server, unless a third of `stale_after` is shorter.
pub const VERB_DEADLINE: Duration = Duration::from_secs(30);

/// How often a verb is tried that meets a transient error; then the error is returned.
pub const VERB_ATTEMPTS_MAX: u32 = 6;

/// The first wait between two such attempts; doubled each time, with jitter.
pub const VERB_BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest wait between two such attempts.
pub const VERB_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Claims with a lost answer whose rows are still searched for. Each costs a look before a repository's claim; if there
/// are more, the sweep takes back the items of the oldest.
pub const LOST_CLAIMS_MAX: usize = 100;

/// The longest run of `prepare`: an index over ten million rows takes a minute.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(600);

/// The longest run of `attach`: a scan of a billion rows for each index.
pub const ATTACH_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// How long a statement of `attach` waits for a lock that keeps others from writing. Whoever comes after it waits as
/// long.
pub const ATTACH_LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// How long such a statement may take in all: that of a partitioned table takes a lock for each partition, one after
/// the other.
pub const ATTACH_STATEMENT_MAX: Duration = Duration::from_millis(250);

/// Tries for such a lock after which each further one may take four times as long in all: a table with very many
/// partitions cannot be locked in less.
pub const ATTACH_QUICK_TRIES: u32 = 30;

/// Tries for such a lock after which `attach` gives up, which it does after about ten minutes: whoever holds it will
/// not let it go by itself.
pub const ATTACH_TRIES_MAX: u32 = 300;

/// Pages of a table in one batch of a backfill: 4 MB, which take a few milliseconds.
pub const ATTACH_BATCH_PAGES: i64 = 512;

/// Rows in one batch of a backfill on SQLite, where everybody who writes waits for it.
pub const ATTACH_BATCH_ROWS: i64 = 10_000;

/// Rows of a sample on which a description is proved: enough for what is not rare, and read in milliseconds.
pub const PROOF_ROWS_MAX: i64 = 10_000;

/// Rows of that sample that are put into each state, in a query that writes nothing.
pub const PROOF_WRITTEN_ROWS_MAX: i64 = 100;

/// The longest query of the proof.
pub const PROOF_DEADLINE: Duration = Duration::from_secs(10);

/// Connections of one PostgreSQL store for its verbs, of which a worker uses few at a time; as many again for the
/// user's transactions, which take one each.
pub const POSTGRES_CONNECTIONS_MAX: u32 = 8;

/// A connection that was idle for this long is closed, because others need the server's connections.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(60);

/// No connection is used for longer: state that an older server or a handler left in it ends with it.
pub const CONNECTION_LIFETIME_MAX: Duration = Duration::from_secs(1800);

/// A connection that was idle for this long is tested before anything else is sent on it. The test is a round trip;
/// steady work never pays it.
pub const CONNECTION_TESTED_AFTER: Duration = Duration::from_secs(1);

/// A handler's transaction reads the table's columns if its connection has not read them for this long: reading them
/// costs the server more than everything else at the beginning of a transaction.
pub const COLUMNS_KNOWN_FOR: Duration = Duration::from_millis(100);

/// How long a connection may take to answer that test, or to close.
pub const CONNECTION_TEST_DEADLINE: Duration = Duration::from_secs(3);

/// How often a worker without notifications tests whether it would still receive one.
pub const HEARING_TESTED_EVERY: Duration = Duration::from_secs(30);

/// Reading connections of one SQLite store; each has a thread, and a page cache of 2 MB.
pub const SQLITE_READERS: usize = 4;

/// Keys of one `add_many` call that are searched for one by one, at several attempts each, because the table cannot
/// hold them. A call with more of them is an error.
pub const REFUSED_KEYS_MAX: usize = 1_000;

/// How often a store checks that a database's file is still the one that it opened: writes to a replaced file are lost,
/// and a check takes a microsecond.
pub const FILE_CHECKED_EVERY: Duration = Duration::from_secs(1);

/// Keys in one transaction of `add_many` on SQLite: between two transactions heartbeats and claims get their turn.
pub const SQLITE_ADDED_KEYS_MAX: usize = 10_000;

/// The prefetch of a worker's claims: it holds this much work beyond the items that run. Long enough to hide a claim's
/// round trip, short enough that a slow handler hoards nothing.
pub const CLAIM_LOOK_AHEAD: Duration = Duration::from_millis(200);

/// The most items of one stage that a worker holds ahead of need: one full claim queued while the next one runs.
pub const CLAIM_AHEAD_ITEMS_MAX: usize = 2 * BATCH_ITEMS_MAX;

/// A worker claims nothing more while more ended items and running hook calls than this are waiting.
pub const ENDED_ITEMS_MAX: usize = 2 * BATCH_ITEMS_MAX;

/// The longest time that queued items wait behind handlers that became slow, before the surplus returns to the queue
/// for others.
pub const QUEUED_FOR_MAX: Duration = Duration::from_secs(2);

/// The longest wait for more ended items before they are written, and only when they come quickly. It is no longer than
/// the last finish took, so that at most half of the time is spent waiting.
pub const FINISH_GATHER_MAX: Duration = Duration::from_millis(20);

/// The size of a finish from which on the next one waits to gather more.
pub const FINISH_GATHER_ITEMS_MIN: usize = 32;

/// How long a finish that meets errors is sent again after its lease has expired: fencing decides whether it still
/// counts, and an outage should not cost hours of work.
pub const FINISH_KEPT_FOR: Duration = Duration::from_secs(600);

/// Failures in a row after which a finish waits between two statements. To find one item that the database cannot write
/// takes this many statements in a full batch; more failures are not due to one item.
pub const FINISH_HALVINGS_MAX: u32 = 11;

/// Failures in a row after which a finish that others wait for is sent apart, even if its error is transient: the error
/// may be the row's own, for instance a trigger that reports a full disk, and an outage has lasted for a second by
/// then.
pub const FINISH_OUTAGE_TRIES_MAX: u32 = 5;

/// Handlers of one stage that run at once in one worker. Each has a task, and its items have leases to renew.
pub const CONCURRENCY_MAX: usize = 1_000;

/// Items that a slot handles before it yields to other tasks of the user's runtime.
pub const WORKER_ITEMS_BETWEEN_YIELDS: usize = 32;

/// A due time from this day on means never: `infinity`, and the last day, which many tables use for it. It is also the
/// last day that both SQLite's times and PostgreSQL's can express.
pub const NEVER_DUE_FROM: DateTime<Utc> = DateTime::from_timestamp(253_402_214_400, 0).expect("9999-12-31");

/// The time between two light reads of the held leases, which notice cancelled and lost ones sooner than a renewal.
pub const LEASE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a handler may block its thread after it was asked to stop, before its slot counts as leaked.
pub const LEAK_AFTER: Duration = Duration::from_secs(1);

/// How long a worker that stops at once waits until its handlers are dropped and its items have returned to the queue.
pub const STOP_WAIT: Duration = Duration::from_secs(2);

/// The time between two searches of a stopping worker for the items of claims with lost answers.
pub const LOST_CLAIM_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long handlers may go on after the worker was asked to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// The shortest and the longest wait between two looks at an empty queue. The longest applies where notifications work;
/// without them it is [`POLL_MAX_UNHEARD`].
pub const POLL_MIN: Duration = Duration::from_millis(50);
/// See [`POLL_MIN`].
pub const POLL_MAX: Duration = Duration::from_secs(10);
/// The most milliseconds by which a worker is slowed that was repeatedly notified of items which others got.
pub const WAKE_SPREAD_MAX_MS: u64 = 100;
/// The longest wait between two looks at an empty queue without notifications.
pub const POLL_MAX_UNHEARD: Duration = Duration::from_secs(1);

/// The shortest pause between two tries of a held stage; doubled each time. A restart of a database takes a few
/// seconds.
pub const HOLD_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause between two tries of a held stage: it may stand still for this long after an outage has ended.
pub const HOLD_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A stage that is held until a given time is still tried this often: one item's report must not hold up all others for
/// ever.
pub const HELD_UNTRIED_MAX: Duration = Duration::from_secs(3600);

/// Outages that one item meets while others succeed in between, of the kind that is found in its errors. From this
/// number on they count as the item's own failures: an item that breaks its connection each time must come to an end as
/// well.
pub const OUTAGES_ALONE_MAX: u32 = 5;

/// The longest time for which an item is put off that alone keeps reporting an outage.
pub const PUT_OFF_MAX: Duration = Duration::from_secs(3600);

/// Items of a stage whose outages are remembered. When there are more, all are forgotten, to the items' advantage.
pub const OUTAGES_REMEMBERED_MAX: usize = 1_000;

/// The longest wait between two looks, and the longest grace: anything longer is as good as for ever, and a clock
/// cannot be added to without end.
pub const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long `run_until_idle` goes on under a permanent error (a missing table).
pub const LASTING_ERROR_PATIENCE: Duration = Duration::from_secs(30);

/// How long `run_until_idle` goes on while the database does not answer.
pub const OUTAGE_PATIENCE: Duration = Duration::from_secs(600);
