-- create_indexes: three partial indexes; an item is in one of them until it succeeds, then in none. Their names end in a hash of their
-- definition, so that a pipeline whose words change gets new ones.

-- step: ready
-- The claim: each stage's queue in its order.
create index if not exists :ready_index
on :bare_table (:"status", :bare_ready_since)
where :"status" in (:ready_words)

-- step: running
-- The sweep, the look for a lost claim, who holds what.
create index if not exists :running_index
on :bare_table (:"claim_token")
where :"status" in (:running_words)

-- step: stopped
-- Counting and listing what failed, was cancelled or is not ours, without reading the table. A success is not entered
-- here: it would be one more write for each item.
create index if not exists :stopped_index
on :bare_table (:"status", :"key")
where coalesce(:"status", '') not in (:ready_words, :running_words, :'succeeded')
