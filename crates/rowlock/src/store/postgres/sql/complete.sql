-- complete: ends one lease with success.
--
-- Buys:      it costs a fifth of what `finish` costs for a single item. Under the fault suite's load, a completion by
--            `complete_in` went from 2.1 to 0.27 ms, waiting for the processor included.
-- Forms:     `complete` skips a locked row. It overwrites the last error with null, and looks nothing up: if the column
--            takes no null, it fails, and `finish` follows, for this item and for all later ones.
--            `complete_one` (`waits`), used in the user's transaction and where items are repeated one by one, waits
--            for its row, and looks up how to treat an error.
-- Guarantee: the row is matched by key, token and its stage's word in progress; the token stays.
-- Index:     the key's. The word is compared through coalesce; otherwise a plan for these values would use the index on
--            the token, in which a whole batch shares one token.
-- Binds:     $1 key   $2 token   $3 now, or null   $4 word in progress
update :table t
set
  :"status" = :next_of_running,
  :"retry_count" = case when :budget_is_per_stage then 0 else t.:"retry_count" end,
  :"reset_count" = case when :budget_is_per_stage then 0 else t.:"reset_count" end,
  :"retry_after" = null,
  \if :waits
  :"error_message" = :error_after_completion,
  \else
  :"error_message" = :null_after_completion,
  \endif
  :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
where t.:"key" = $1::text:::key_type
  and t.:"claim_token" = $2::bigint
  and coalesce(t.:"status", '') = $4::text
  \if :waits
  \else
  and t.ctid = any (array(
    select held.ctid
    from :table held
    where held.:"key" = $1::text:::key_type
      and held.:"claim_token" = $2::bigint
      and coalesce(held.:"status", '') = $4::text
    for no key update skip locked
  ))
  \endif
returning 1 as n, t.:"status" as word
