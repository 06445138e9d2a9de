-- unreadable_times: rows with an unreadable time, counted no further than the limit, and one of the values.

-- step: due
-- Ready items that are never due because of it.
-- Index: the partial one over the ready words, in which such times lie side by side.
-- Binds: ?1 limit
select count(*), min(time)
from (
  select coalesce(t.:"retry_after", t.:"created_at") as time
  from :table as t
  where :is_ready
    and :ready_since = :unreadable
  limit ?1
)

-- step: heartbeats
-- Items in progress that are stale because of it.
-- Index: the partial one over the words in progress.
-- Binds: ?1 limit
select count(*), min(time)
from (
  select t.:"heartbeat_at" as time
  from :table as t
  where t.:"status" in (:running_words)
    and :heartbeat_at_read = :unreadable
  limit ?1
)
