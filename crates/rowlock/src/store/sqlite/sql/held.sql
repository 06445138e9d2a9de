-- held: who holds which items, and since when; the longest held first.
-- Index: the partial one over the words in progress; the result is sorted.
-- Binds: ?1 limit
select
  t.:"key",
  t.:"status",
  t.:"claimed_by",
  t.:"claimed_at",
  :heartbeat
from :table as t
where t.:"status" in (:running_words)
  and :is_item
order by t.:"claimed_at"
limit ?1
