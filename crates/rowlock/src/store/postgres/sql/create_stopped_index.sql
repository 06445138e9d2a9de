-- create_stopped_index: items that failed, were cancelled or have an unknown word: few rows, counted and listed without
-- reading the table. A success has no entry here: it would be one more write per item.
create index if not exists :stopped_index
on :table (:"status", :"key")
where coalesce(:"status", '') not in (:ready_words, :running_words, :'succeeded')
