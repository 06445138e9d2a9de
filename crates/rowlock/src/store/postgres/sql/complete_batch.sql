-- complete_batch: ends many leases of a few claims with success.
--
-- Buys:      it costs less than two thirds of what a finish by the keys costs an item: 18 µs in the server instead of
--            28, and 8 blocks instead of 14. Without the lock, the drain's WAL went from 1.10 of raw to 1.02.
-- Guarantee: every row is matched by key, token and its stage's word in progress; a row that does not match is not
--            written; the token stays.
-- Locks:     it locks nothing before it writes, and leaves out what others have locked. `finish` follows for what was
--            left out.
-- Index:     the one on the token, in which the rows of a claim lie side by side, in the order in which they lie in the
--            table; each row is checked just before it is written. The leases are a hashed subquery and not a join,
--            which the planner could turn round; `is true` keeps it from turning the subquery into a join.
-- Answer:    one row per word that was written, with the number of items, their keys and their tokens. If all items got
--            the one word that was asked for, the caller looks at no single item.
-- Binds:     $1 keys   $2 tokens   $3 now, or null
--            $4 stages, as places in the queue, for their words in progress: with a thousand items the words alone
--            would be half of the data sent   $5 the distinct tokens
with written as (
  update :table t
  set
    :"status" = :next_of_running,
    :"retry_count" = case when :budget_is_per_stage then 0 else t.:"retry_count" end,
    :"reset_count" = case when :budget_is_per_stage then 0 else t.:"reset_count" end,
    :"retry_after" = null,
    :"error_message" = :error_after_completion,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  where t.:"claim_token" = any ($5::bigint[])
    and t.:"status" in (:running_words)
    -- No other transaction has the row locked. Its `xmax` names the transaction that locked it last. A claim and a
    -- renewal lock what they then write, so theirs is the transaction that also wrote the row (`xmin`); it is over, or
    -- the row could not be seen here. Any other name may be that of a transaction which still has the row, or of a lock
    -- long gone: only an attempt to lock the row can tell. A transaction that locks a row between the check and the
    -- write, some microseconds, is waited for as by any update, up to the verb's deadline.
    and (t.xmax = t.xmin or t.xmax = '0'::xid)
    and (
      (t.:"key", t.:"claim_token", :position_of_running) in (
        select * from unnest($1::text[]:::key_array, $2::bigint[], $4::int[])
      )
    ) is true
  returning t.:"key"::text as item, t.:"claim_token" as token, t.:"status" as word
)
select word, count(*) as n, array_agg(item) as items, array_agg(token) as tokens
from written
group by word
