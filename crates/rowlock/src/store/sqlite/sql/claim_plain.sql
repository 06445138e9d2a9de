-- claim_plain: claims items if all of them can be taken: none is at a limit, and none is a suspect. Nearly every claim
-- is of this kind. The rows go from step to step as one text: the driver returns rows one by one, and an item that is a
-- JSON object is parsed again at each mention of a field.
--
-- Buys: by the plain texts the drain went from 0.54 of raw to 0.80. With rowids here, and complete_plain.sql by the
--       token, it did 54,300, 45,800 and 58,100 items a second, without them 39,400, 31,600 and 36,200.
--
-- One write transaction: `pick` for each stage asked for, later stage first, with the rest of the limit; then `take`
-- and `read` for each of them. If it does not write as many rows as it has picked, it is rolled back, and claim.sql
-- finds out why.
--
-- `:address` tells rows apart: the rowid where the table has one, which leads to the row. The key would lead to an
-- entry of its index first, anywhere among all others. Only a trigger can give a row another rowid before it is read:
-- the rows that are read must have the token.

-- step: has_rowids
-- Whether the table has rowids, and no column hides them. Each claim asks, because a table can be created anew. A table
-- that has no rowids is its own index, and only then is its name that of an index.
-- Binds: ?1 table
select
  not exists (select 1 from pragma_index_info(?1))
  and not exists (select 1 from pragma_table_xinfo(?1) where name = '_rowid_' collate nocase)

-- step: pick
-- The rows in the order of the queue, their number, and how many of them cannot be taken plainly. The guarantee, the
-- index and the binds are those of `pick` in claim.sql.
select json_group_array(picked.address), count(*), coalesce(sum(picked.is_special), 0)
from (
  select
    :address as address,
    :retries >= ?5 or :resets >= ?6 or (:resets >= 1 and :resets = ?6 - 1) as is_special
  from :table as t
  where t.:"status" = ?1
    and :is_ready
    and :ready_since <= ?3
    and :is_typed
    and (?9 or :is_unicode)
    and t.:"key" not in (select value from json_each(?8))
    and (not ?7 or (:retries < ?5 and :resets < ?6))
    and not exists (select 1 from :rowlock_stages s where s.pipeline = :'pipeline' and s.stage = ?2)
  order by :queue_order
  limit ?4
) as picked

-- step: take
-- Guarantee: matches the ready word that was picked. The claim itself stamps the heartbeat.
-- Index:     none, or the key's: one lookup per item. The `+` excludes every other index: one on the status would hold
--            the whole backlog, and without statistics SQLite expects ten rows from it.
-- Binds:     ?1 addresses, JSON  ?2 now  ?3 token  ?4 holder  ?5 ready word  ?6 word in progress
update :table as t
set
  :"status" = ?6,
  :"claim_token" = ?3,
  :"claimed_by" = ?4,
  :"claimed_at" = ?2,
  :"heartbeat_at" = ?2,
  :"updated_at" = ?2
where :address in (select value from json_each(?1))
  and +t.:"status" = ?5

-- step: read
-- The whole rows as they are now. Not `returning`: a trigger may change a row after the update.
-- Binds: ?1 addresses, JSON
select t.*:and_role_values
from json_each(?1) as i
cross join :table as t on :address = i.value
