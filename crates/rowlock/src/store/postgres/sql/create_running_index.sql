-- create_running_index: the items in progress. It serves the sweep and finds a claim by its token. It does not contain
-- the heartbeat, so that heartbeats stay HOT updates.
create index if not exists :running_index
on :table (:"claim_token")
where :"status" in (:running_words)
