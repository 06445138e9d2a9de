-- explain: the facts about one item. Pauses are read by `paused.sql` in the same reading transaction; what the facts
-- mean is said by the code. The times stand at the end as the claim and the sweep read them.
-- Index: the key's.
-- Binds: ?1 key
select
  t.*,
  :retry_after_read,
  :created_at_read,
  :heartbeat_at_read
from :table as t
where t.:"key" = ?1
