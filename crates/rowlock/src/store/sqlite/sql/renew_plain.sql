-- renew_plain: one heartbeat for the leases under one token in one stage.
--
-- Guarantee: matched by key, token and word in progress: a late heartbeat never revives a lost lease. If it does not
--            write as many rows as it has keys, it is rolled back, and `renew.sql` finds out why.
-- Index:     the key's, one lookup per lease. The `+` excludes every other index: one on the status would hold the
--            whole backlog, and without statistics SQLite expects ten rows from it. No index contains the columns that
--            it writes.
-- Binds:     ?1 keys, JSON  ?2 now  ?3 token  ?4 word in progress
update :table as t
set
  :"heartbeat_at" = ?2,
  :"updated_at" = ?2
where t.:"key" in (select value from json_each(?1))
  and t.:"claim_token" = ?3
  and +t.:"status" = ?4
