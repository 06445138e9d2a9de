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
-- Binds:     $1 keys   $2 tokens   $3 now, or null   $4 words in progress   $5 the tokens, each once
update :table t
set
  :completed
where t.:"claim_token" = any ($5::bigint[])
  and t.:"status" in (:running_words)
  and :locked_by_nobody
  and (
    (t.:"key", t.:"claim_token", t.:"status") in (
      select * from unnest($1::text[]:::key_array, $2::bigint[], $4::text[])
    )
  ) is true
returning t.:"key"::text as item, t.:"claim_token" as token, t.:"status" as word
