-- create_stopped_index: what failed, was cancelled or is not ours: few rows, counted and listed without reading the
-- table. A success is not entered here: it would be one more write for each item.
create index if not exists :stopped_index
on :table (:"status", :"key")
where coalesce(:"status", '') not in (:ready_words, :running_words, :'succeeded')
