-- claim_full: `claim_plain` for a full queue. It leaves out rows that others have locked or changed, and starts where
-- the last claim ended (`of_full_queue.sql`).
--
-- Guarantee: that of `claim`.
-- Answer:    the updated rows, directly. To join them with a tally, the server would keep them and copy them twice. So
--            the answer is empty both where nothing was picked and where a special item was picked; `claim` follows.
-- Order:     none, as in `claim`.
-- Index:     that of `claim`.
-- Binds:     $1 to $9 as in claim_plain   $10 where to start: ready since then, or null
with
:snapshot,
:pick_plain
:take_plain,
  (select n from picked) as rowlock_picked
