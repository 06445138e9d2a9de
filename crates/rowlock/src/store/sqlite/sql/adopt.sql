-- adopt: writes the rows that a table already had when its columns were added.

-- step: existing
-- Binds: ?1 the word for them
update :table
set :"status" = ?1

-- step: stamp
-- Another program may be working on the items in progress: they become stale after one `stale_after`, not at once.
-- Index: the one over the words in progress.
-- Binds: ?1 now
update :table as t
set :"heartbeat_at" = ?1
where t.:"status" in (:running_words)
  and t.:"heartbeat_at" is null
