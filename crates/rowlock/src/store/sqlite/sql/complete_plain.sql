-- complete_plain: completes items that are held under one token in one stage.
--
-- Guarantee: every row is matched by key, token and word in progress. If it does not write as many rows as it has keys,
--            it is rolled back, and `finish.sql` finds out why. The token stays, so that a lost answer can be settled.
-- Buys:      see claim_plain.sql.
-- Binds:     ?1 keys, JSON  ?2 now  ?3 token  ?4 word in progress  ?5 the word that it leads to

-- step: few
-- Index: the key's, one lookup per item. The `+` excludes every other index: one on the status would hold the whole
--        backlog, and without statistics SQLite expects ten rows from it.
update :table as t
set
  :"status" = ?5,
  :"retry_count" = iif(:budget_is_per_stage, 0, t.:"retry_count"),
  :"reset_count" = iif(:budget_is_per_stage, 0, t.:"reset_count"),
  :"retry_after" = null,
  :"error_message" = iif(?5 = :'succeeded', :error_after_success, t.:"error_message"),
  :"updated_at" = ?2
where t.:"key" in (select value from json_each(?1))
  and t.:"claim_token" = ?3
  and +t.:"status" = ?4

-- step: has_index
-- An index follows its table when the table is renamed, and keeps its own name.
-- Binds: ?1 the index on the token  ?2 table
select exists (select 1 from sqlite_schema where type = 'index' and name = ?1 and tbl_name = ?2 collate nocase)

-- step: many
-- For much of what a claim took, if the index exists: a newer version of the pipeline replaces it by another.
-- Index: the one on the token, in which the rows of a claim lie side by side, as they mostly do in the table. It passes
--        over items of the claim that are not completed. The statement names it: with statistics in which all rows are
--        of one claim, SQLite would read the table.
update :table as t indexed by :running_index
set
  :"status" = ?5,
  :"retry_count" = iif(:budget_is_per_stage, 0, t.:"retry_count"),
  :"reset_count" = iif(:budget_is_per_stage, 0, t.:"reset_count"),
  :"retry_after" = null,
  :"error_message" = iif(?5 = :'succeeded', :error_after_success, t.:"error_message"),
  :"updated_at" = ?2
where t.:"claim_token" = ?3
  and t.:"status" in (:running_words)
  and +t.:"key" in (select value from json_each(?1))
  and +t.:"status" = ?4

-- step: as_written
-- How many rows are still as they were written. Asked if the table has triggers.
-- Index: the key's, one lookup per item.
select count(*)
from :table as t
where t.:"key" in (select value from json_each(?1))
  and t.:"claim_token" = ?3
  and +t.:"status" = ?5
