//! Every limit in one place, each with the reason for its size.

use std::time::Duration;

use chrono::{DateTime, Utc};

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

/// Characters that a column for holders must hold: a host's name of 64, a process id, a random part.
pub(crate) const HOLDER_COLUMN_CHARS_MIN: usize = 96;

/// Failures kept for each item; older ones are pruned in the statement that adds one.
pub const FAILURES_KEPT_MAX: usize = 20;

/// Attempts for which a retry policy is tabulated; later ones use the last delay.
pub const RETRY_TABLE_ATTEMPTS_MAX: usize = 64;

/// No delay is longer than a year: beyond it an item is lost in all but name.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Counts are exact up to here; beyond it a count would read the whole table.
pub const COUNT_EXACT_MAX: i64 = 10_000;

/// Items of a state that a worker without work counts at each look, to say what it waits for. It looks often, and all of
/// them may be waiting.
pub const WAITING_COUNTED_MAX: i64 = 1_000;

/// A claim of at least so many items that gets them all says that the queue is full.
pub const QUEUE_FULL_ITEMS_MIN: i64 = 64;

/// How often a claim of a full queue begins at its start; between that each begins where the last one ended.
pub const QUEUE_LOOKED_AT_EVERY: Duration = Duration::from_millis(200);

/// That is rarer where much is to be walked past there: it takes no more than one part in so many of the time.
pub const QUEUE_LOOKED_AT_SHARE: u32 = 40;

/// But not rarer than this: a look may also have taken long for another reason, and what was given back waits for the next.
pub const QUEUE_LOOKED_AT_EVERY_MAX: Duration = Duration::from_secs(10);

/// Words that the pipeline does not know, of which each is counted; with more the table is none of this pipeline's.
pub const UNKNOWN_WORDS_MAX: i64 = 1_000;

/// Values of a count with which `prepare` tries a `CHECK`, besides the limit itself: a constraint that allows these and the last
/// one forbids none between them.
pub const COUNTS_TRIED_MAX: i32 = 100;

/// Rows at which `prepare` looks to see whether a column of times holds numbers: whoever writes numbers writes them always.
pub const TIMES_LOOKED_AT_MAX: i64 = 1_000;

/// Items in one page of `list`.
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// Keys that this process leaves out of its claims because the database refused every write to their rows. A claim
/// compares each row that it reads with each of them: with so many at the head of the queue that takes about a second.
pub const EXCLUDED_KEYS_MAX: usize = 10_000;

/// How long such a key is left out. Then it is tried again: somebody may have mended the row.
pub const EXCLUDED_FOR: Duration = Duration::from_secs(300);

/// Single items of a batch that failed as a whole that are tried before it is taken for everybody's fault, however long they
/// take: so many of them, from all over the batch, are seldom bad by chance.
pub const LADDER_PROBES_MAX: usize = 5;

/// The same where their errors come at once: half of a batch that is bad is then hardly ever taken for all of it, and a table
/// that is gone costs no more than so many statements.
pub const LADDER_QUICK_PROBES_MAX: usize = 25;

/// How long errors may take in all to have come at once.
pub const LADDER_PROBES_FOR: Duration = Duration::from_millis(100);

/// Characters beyond ASCII of which a store asks whether the encoding of the database has them, where an error's text was refused
/// for its encoding: each is a statement. What is beyond them is replaced.
pub const TRANSLATED_CHARACTERS_MAX: usize = 64;

/// Longest statement for a part of a batch that failed as a whole, unless a tenth of the verb's deadline is shorter: a part of
/// ordinary items takes milliseconds, and one with a row that never ends is found out by as many time-outs as it has halvings.
pub const LADDER_STATEMENT_MAX: Duration = Duration::from_secs(1);

/// Items in a row that are made `FAILED` because the database refuses them for the same cause: more than that, and none that
/// passes in between, is a mistake in a deploy and not in rows.
pub const REFUSED_ALIKE_MAX: usize = 10;

/// Longest wait of one verb, on the client and on the server, unless a third of `stale_after` is shorter.
pub const VERB_DEADLINE: Duration = Duration::from_secs(30);

/// How often a verb that met a transient error is tried before the error is returned.
pub const VERB_ATTEMPTS_MAX: u32 = 6;

/// First wait between two such attempts; doubled each time, with jitter.
pub const VERB_BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Longest wait between two such attempts.
pub const VERB_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Claims whose answers were lost and whose rows are still looked for. Each costs a look before a repository's claim;
/// what the oldest took is left to the sweep when there are more.
pub const LOST_CLAIMS_MAX: usize = 100;

/// Longest run of `prepare`: an index over ten million rows takes a minute.
pub const PREPARE_DEADLINE: Duration = Duration::from_secs(600);

/// Connections of one PostgreSQL store for its verbs, of which a worker has few at a time, and as many for the user's
/// transactions, which take one each.
pub const POSTGRES_CONNECTIONS_MAX: u32 = 8;

/// A connection that nobody used for so long is given back to the server, whose connections others need.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(60);

/// No connection is used for longer: what a server of another time, or a handler, left in it ends with it.
pub const CONNECTION_LIFETIME_MAX: Duration = Duration::from_secs(1800);

/// A connection that was idle for so long is asked whether it lives before anything is sent on it: a round trip, which
/// those who work without a pause never pay.
pub const CONNECTION_TESTED_AFTER: Duration = Duration::from_secs(1);

/// A transaction of a handler's asks what columns the table has where nobody asked on its connection for so long: asking
/// costs the server more than all else that a transaction begins with.
pub const COLUMNS_KNOWN_FOR: Duration = Duration::from_millis(100);

/// How long a connection may take to say that it lives, or to close.
pub const CONNECTION_TEST_DEADLINE: Duration = Duration::from_secs(3);

/// How often a worker that hears nothing asks whether it still could.
pub const HEARING_TESTED_EVERY: Duration = Duration::from_secs(30);

/// Reading connections of one SQLite store; each has a thread, and a page cache of 2 MB.
pub const SQLITE_READERS: usize = 4;

/// Keys of one call of `add_many` that are found one by one to be none that the table can hold, at some attempts each. A call
/// with more of them is an error.
pub const REFUSED_KEYS_MAX: usize = 1_000;

/// How often it is looked whether a database's file is still the one that was opened: what is written to one that was
/// replaced is lost, and a look takes a microsecond.
pub const FILE_CHECKED_EVERY: Duration = Duration::from_secs(1);

/// Keys in one transaction of `add_many` on SQLite: between two of them heartbeats and claims get their turn.
pub const SQLITE_ADDED_KEYS_MAX: usize = 10_000;

/// Look-ahead of a worker's claims: so much work is held beyond what runs. Long enough to hide a claim's round trip,
/// short enough that a slow handler hoards nothing.
pub const CLAIM_LOOK_AHEAD: Duration = Duration::from_millis(200);

/// Items of one stage that a worker holds ahead of need at most: one full claim queued while the next is under way.
pub const CLAIM_AHEAD_ITEMS_MAX: usize = 2 * BATCH_ITEMS_MAX;

/// Ended items and hook calls under way above which a worker claims nothing more.
pub const ENDED_ITEMS_MAX: usize = 2 * BATCH_ITEMS_MAX;

/// How long queued items wait at most behind handlers that became slow, before the surplus is given back to others.
pub const QUEUED_FOR_MAX: Duration = Duration::from_secs(2);

/// Longest wait for more ended items before they are written, and only when they come quickly: no longer than the last
/// finish took, so that no more than half of the time is spent waiting.
pub const FINISH_GATHER_MAX: Duration = Duration::from_millis(20);

/// Size of a finish from which on the next one waits to gather more.
pub const FINISH_GATHER_ITEMS_MIN: usize = 32;

/// For how long it counts that a claim left nothing ready for a stage. For so long items of the stage before continue to it
/// without a claim; then what waits there has its turn.
pub const FOUND_EMPTY_FOR: Duration = Duration::from_millis(200);

/// Shortest and longest time without another try where nothing could continue to a stage, because it is paused or the database
/// refuses it: each try costs a statement beside the finish that follows.
pub const PASSAGE_CLOSED_MIN: Duration = Duration::from_secs(1);
/// See [`PASSAGE_CLOSED_MIN`].
pub const PASSAGE_CLOSED_MAX: Duration = Duration::from_secs(64);

/// How long a finish that meets errors is sent again after its lease has passed its life: fencing decides whether it
/// still counts, and an outage should not cost the work of hours.
pub const FINISH_KEPT_FOR: Duration = Duration::from_secs(600);

/// Failures in a row after which a finish waits between two statements: one item that the database cannot write is found
/// among a full batch by as many statements, and more failures are not of one item.
pub const FINISH_HALVINGS_MAX: u32 = 11;

/// Failures in a row after which what others wait for is sent apart although the error may pass: it may be the row's own, as
/// where a trigger says that the disk is full, and an outage has lasted for a second by then.
pub const FINISH_OUTAGE_TRIES_MAX: u32 = 5;

/// Handlers of one stage that run at once in one worker. Each has a task, and its items have leases to renew.
pub const CONCURRENCY_MAX: usize = 1_000;

/// Items that a slot handles before it lets other tasks of the user's runtime run.
pub const WORKER_ITEMS_BETWEEN_YIELDS: usize = 32;

/// What is due from this day on is never due: `infinity`, and the last day that many a table has for it. It is also
/// the last day that SQLite's times and PostgreSQL's share.
pub const NEVER_DUE_FROM: DateTime<Utc> = DateTime::from_timestamp(253_402_214_400, 0).expect("9999-12-31");

/// Between two light reads of the held leases, which notice cancelled and lost ones sooner than a renewal.
pub const LEASE_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a handler that was told to stop may hold on to its thread before its slot counts as leaked.
pub const LEAK_AFTER: Duration = Duration::from_secs(1);

/// How long a worker that stops at once waits for its handlers to be dropped and its items to be given back.
pub const STOP_WAIT: Duration = Duration::from_secs(2);

/// Between two looks of a stopping worker for what claims took whose answers were lost.
pub const LOST_CLAIM_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long handlers may go on after a worker was asked to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// Shortest and longest wait between two looks at an empty queue. The longest holds where notifications work;
/// without them it is [`POLL_MAX_UNHEARD`].
pub const POLL_MIN: Duration = Duration::from_millis(50);
/// See [`POLL_MIN`].
pub const POLL_MAX: Duration = Duration::from_secs(10);
/// Most milliseconds by which a worker is slower that was woken again and again for items which others got.
pub const WAKE_SPREAD_MAX_MS: u64 = 100;
/// Longest wait between two looks at an empty queue where nobody tells of new items.
pub const POLL_MAX_UNHEARD: Duration = Duration::from_secs(1);

/// Shortest pause between two tries of a held stage; doubled each time. A restart of a database takes a few seconds.
pub const HOLD_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause between two tries of a held stage: for so long after the end of an outage it may stand still.
pub const HOLD_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A stage that is held until a given time is tried so often all the same: one item's word holds up nobody for ever.
pub const HELD_UNTRIED_MAX: Duration = Duration::from_secs(3600);

/// Outages that one item meets while others succeed in between, of the kind that is found in its errors. From then on they are
/// its own, and count: an item that ends its connection each time must come to an end as well.
pub const OUTAGES_ALONE_MAX: u32 = 5;

/// Longest time for which an item is put off that alone says, again and again, that something is away.
pub const PUT_OFF_MAX: Duration = Duration::from_secs(3600);

/// Items of a stage whose outages are remembered. When there are more the memory starts anew, to their advantage.
pub const OUTAGES_REMEMBERED_MAX: usize = 1_000;

/// Longest wait between two looks, and longest grace: what is longer is as good as for ever, and no clock can be added to
/// without end.
pub const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long `run_until_idle` goes on under an error that will not pass by itself (a missing table).
pub const LASTING_ERROR_PATIENCE: Duration = Duration::from_secs(30);

/// How long `run_until_idle` goes on while the database does not answer.
pub const OUTAGE_PATIENCE: Duration = Duration::from_secs(600);
