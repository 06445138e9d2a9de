-- create_running_index: the items in progress. Serves the sweep and finds a claim by its token; the heartbeat is not
-- in it, so that heartbeats stay HOT updates.
create index if not exists :running_index
on :table (:"claim_token")
where :"status" in (:running_words)
