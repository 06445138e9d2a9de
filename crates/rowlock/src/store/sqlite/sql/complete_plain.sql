-- complete_plain: completes items that are held under one token in one stage.
--
-- Guarantee: every row is matched by key, token and word in progress. If it does not write as many rows as it has keys,
--            it is undone, and `finish.sql` finds out why. The token stays, so that a lost answer can be settled.
-- Index:     the key's, one look-up an item. The `+` keeps every other index away: one on the status would hold the whole
--            backlog, and without statistics SQLite takes it for ten rows.
-- Binds:     ?1 keys, JSON  ?2 now  ?3 token  ?4 word in progress  ?5 the word that it leads to
update :table as t
set
  :"status" = ?5,
  :"retry_count" = :retry_count_of_completed,
  :"reset_count" = :reset_count_of_completed,
  :"retry_after" = null,
  :"updated_at" = ?2
where t.:"key" in (select value from json_each(?1))
  and t.:"claim_token" = ?3
  and +t.:"status" = ?4
