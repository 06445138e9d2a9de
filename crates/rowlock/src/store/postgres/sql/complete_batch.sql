-- complete_batch: ends many leases of a few claims with success, as `finish` does, for less than two thirds of its cost
-- per item.
--
-- Guarantee: every row is matched by key, token and its stage's word in progress; a row that does not match is not
--            written; the token stays.
-- Locks:     it locks nothing before it writes, and leaves out what others have locked (see LOCKED_BY_NOBODY in
--            statements.rs). `finish_locked` follows for what was left out.
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
    :completed
  where t.:"claim_token" = any ($5::bigint[])
    and t.:"status" in (:running_words)
    and :locked_by_nobody
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
