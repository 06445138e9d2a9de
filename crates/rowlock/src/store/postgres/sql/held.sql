-- held: who holds which items, and since when; the longest held first.
--
-- Index: the partial one over the words in progress.
-- Binds: $1 limit
select
  :shown_key as key,
  t.:"status" as word,
  :shown_holder as holder,
  t.:"claimed_at" as claimed_at,
  t.:"heartbeat_at" as heartbeat_at,
  statement_timestamp() as at
from :table t
where t.:"status" in (:running_words)
  and t.:"key" is not null
order by t.:"claimed_at", t.:"key"
limit $1::bigint
