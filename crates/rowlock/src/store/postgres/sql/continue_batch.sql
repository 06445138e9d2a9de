-- continue_batch: takes many items of a few claims on to the next stage, as `continue_items` does, for less an item.
--
-- Guarantee: that of continue_items.
-- Locks:     nothing is locked before it is written, and what somebody has locked is left out (LOCKED_BY_NOBODY in
--            statements.rs says how).
-- Index:     the one on the token, as in complete_batch. The word is compared through coalesce, or a plan for these values
--            could go by an index of the user's on the status.
-- Binds:     those of continue_items, but $11 the tokens, each once
update :table t
set
  :continued
where t.:"claim_token" = any ($11::bigint[])
  and t.:"status" in (:running_words)
  and coalesce(t.:"status", '') = $4::text
  and :locked_by_nobody
  and (
    (t.:"key", t.:"claim_token") in (
      select * from unnest($1::text[]:::key_array, $2::bigint[])
    )
  ) is true
  and :may_continue
returning t.*, t.:"key"::text as rowlock_key
