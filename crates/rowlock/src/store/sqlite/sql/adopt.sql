-- adopt: what the rows become that a table already had when its columns were added.

-- step: existing
-- Binds: ?1 the word for them
update :table
set :"status" = ?1

-- step: stamp
-- Somebody else may be working on what is in progress: it is stale not now, but one `stale_after` later.
-- Index: the one over what is in progress.
-- Binds: ?1 now
update :table as t
set :"heartbeat_at" = ?1
where t.:"status" in (:running_words)
  and t.:"heartbeat_at" is null
