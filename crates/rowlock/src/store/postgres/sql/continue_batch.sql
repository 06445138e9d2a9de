-- continue_batch: moves many items of a few claims on to the next stage, as `continue_items` does, at a lower cost per
-- item.
--
-- Guarantee: that of continue_items.
-- Locks:     it locks nothing before it writes, and leaves out what others have locked (see LOCKED_BY_NOBODY in
--            statements.rs).
-- Index:     the one on the token, as in complete_batch. The word is compared through coalesce; otherwise a plan for
--            these values could use an index of the user's on the status.
-- Binds:     those of continue_items, but $11 the distinct tokens
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
