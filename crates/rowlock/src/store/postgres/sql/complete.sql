-- complete: ends one lease with success, as `finish` does, for a fifth of what that costs for a single item.
--
-- Guarantee: the row is matched by key, token and the word in progress of its stage; the token stays.
-- Locks:     `complete` leaves a locked row alone (unless_locked.sql). `complete_one`, in the user's transaction and where
--            items are repeated one by one, waits for its row.
-- Error:     `complete` writes a null over that of before, and looks nothing up. Where the column takes none, it fails, and
--            `finish_locked` follows, then and from then on.
-- Index:     the key's. The word is compared through coalesce, or a plan for these values would go by the index on the
--            token, under which a whole batch has one entry.
-- Binds:     $1 key   $2 token   $3 now, or null   $4 word in progress
update :table t
set
  :completed
where t.:"key" = $1::text:::key_type
  and t.:"claim_token" = $2::bigint
  and coalesce(t.:"status", '') = $4::text
  :unless_locked
returning 1 as n, t.:"status" as word
