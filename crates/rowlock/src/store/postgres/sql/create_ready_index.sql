-- create_ready_index: the queue. One index serves both the claim's order and its due filter: a claim never walks over
-- delayed items, and sorts nothing. It has no further column: a bulk insert shares one created_at, and with a
-- tie-breaker each claim would sort all the ties.
create index if not exists :ready_index
on :table (:"status", coalesce(:"retry_after", :"created_at", '-infinity'))
where :"status" in (:ready_words)
