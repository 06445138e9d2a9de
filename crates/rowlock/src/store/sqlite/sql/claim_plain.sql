-- claim_plain: a claim of items all of which are to be taken: none is at a limit, none a suspect. That is nearly every
-- claim, and the rows go from step to step as one text: the driver hands rows over one by one, and an item that is an
-- object of its own is parsed at each mention of a field.
--
-- One write transaction: `pick` for each stage asked for, later stage first, with what is left of the limit; then for
-- each of them `take` and `read`. If it does not write as many rows as it has picked, it is undone, and `claim.sql`
-- finds out why.
--
-- Rows are told apart by `:address`: the rowid where the table has one, which leads to the row; the key would lead to an
-- entry of its index first, anywhere among all others. Only a trigger can give a row another rowid before it is read: what is
-- read must have the token.

-- step: has_rowids
-- Whether the table has rowids, and no column that hides them. Asked for by each claim: a table can be made anew.
-- A table's name is that of an index where the table is its own: where it has no rowid.
-- Binds: ?1 table
select
  not exists (select 1 from pragma_index_info(?1))
  and not exists (select 1 from pragma_table_xinfo(?1) where name = '_rowid_' collate nocase)

-- step: pick
-- The rows in the order of the queue, their number, and how many of them are not plain to take.
-- Guarantee, index and binds: those of `ready_rows.sql`.
select json_group_array(picked.address), count(*), coalesce(sum(picked.is_special), 0)
from (
  select
    :address as address,
    :retries >= ?5 or :resets >= ?6 or (:resets >= 1 and :resets = ?6 - 1) as is_special
  :ready_rows
) as picked

-- step: take
-- Guarantee: matches the ready word that was picked. The heartbeat is stamped by the claim itself.
-- Index:     none, or the key's: one look-up an item. The `+` keeps every other index away: one on the status would hold
--            the whole backlog, and without statistics SQLite takes it for ten rows.
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
-- The rows as they are now, whole. Not `returning`: a trigger may change a row after the update.
-- Binds: ?1 addresses, JSON
select t.*
from json_each(?1) as i
cross join :table as t on :address = i.value
