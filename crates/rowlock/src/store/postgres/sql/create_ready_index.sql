-- create_ready_index: the queue. One index serves the order of the claim and its due filter; delayed items are never
-- walked over, nothing is sorted. No further column: a bulk insert shares one created_at, and a tie-breaker would
-- make each claim sort all the ties.
create index if not exists :ready_index
on :table (:"status", coalesce(:"retry_after", :"created_at", '-infinity'))
where :"status" in (:ready_words)
