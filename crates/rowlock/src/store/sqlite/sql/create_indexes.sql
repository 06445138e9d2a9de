-- create_indexes: three partial indexes. An item is in one of them until it succeeds, then in none. Their names end in
-- a hash of their definition, so that a pipeline whose words change gets new ones.

-- step: ready
-- For the claim: each stage's queue, in order.
create index if not exists :ready_index
on :bare_table (:"status", :bare_ready_since)
where :"status" in (:ready_words)

-- step: running
-- For the sweep, for the search for a lost claim, and for who holds what.
create index if not exists :running_index
on :bare_table (:"claim_token")
where :"status" in (:running_words)

-- step: stopped
-- For counting and listing items that failed, were cancelled or have an unknown word, without reading the table. A
-- success has no entry here: it would be one more write per item.
create index if not exists :stopped_index
on :bare_table (:"status", :"key")
where coalesce(:"status", '') not in (:ready_words, :running_words, :'succeeded')
