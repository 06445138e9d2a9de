-- explain: the facts about one item. `paused.sql` reads the pauses in the same read transaction; the code says what the
-- facts mean. The last columns are the times as the claim and the sweep read them, and whether the
-- pipeline's condition holds.
-- Index: the key's.
-- Binds: ?1 key
select
  t.*:and_role_values,
  :retry_after_read,
  :created_at_read,
  :heartbeat_at_read,
  :is_wanted
from :table as t
where t.:"key" = ?1
