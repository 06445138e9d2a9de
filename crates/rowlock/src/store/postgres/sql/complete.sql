-- complete: ends one lease with success, as `finish` does, at a fifth of what `finish` costs for a single item.
--
-- Guarantee: the row is matched by key, token and its stage's word in progress; the token stays.
-- Locks:     `complete` skips a locked row (unless_locked.sql). `complete_one`, used in the user's transaction and
--            where items are repeated one by one, waits for its row.
-- Error:     `complete` overwrites the last error with null, and looks nothing up. If the column takes no null, it
--            fails; `finish_locked` follows, for this item and for all later ones.
-- Index:     the key's. The word is compared through coalesce; otherwise a plan for these values would use the index on
--            the token, in which a whole batch shares one token.
-- Binds:     $1 key   $2 token   $3 now, or null   $4 word in progress
update :table t
set
  :completed
where t.:"key" = $1::text:::key_type
  and t.:"claim_token" = $2::bigint
  and coalesce(t.:"status", '') = $4::text
  :unless_locked
returning 1 as n, t.:"status" as word
