-- complete_batch: ends many leases of a few claims with success, as `finish` does, for less than two thirds of what that
-- costs an item.
--
-- Guarantee: every row is matched by key, token and the word in progress of its stage; what does not match is not
--            written; the token stays.
-- Locks:     nothing is locked before it is written, and what somebody has locked is left out (LOCKED_BY_NOBODY in
--            statements.rs says how). What is left out goes on to `finish_locked`.
-- Index:     the one on the token, where the rows of a claim lie side by side, in the order in which they lie in the
--            table; each row is looked at just before it is written. The leases are hashed as a subquery, and are no join,
--            which a planner could turn round: `is true` keeps it from making one of it.
-- Answer:    a row for each word that was written, with how many have it and which: where that is what was asked for, nobody
--            looks at the items one by one.
-- Binds:     $1 keys   $2 tokens   $3 now, or null   $4 stages, for their words in progress, by the place in the queue: of a
--            thousand items the words alone would be half of what is sent   $5 the tokens, each once
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
