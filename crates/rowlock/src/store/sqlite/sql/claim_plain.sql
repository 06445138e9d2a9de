-- claim_plain: a claim of items all of which are to be taken: none is at a limit, none a suspect. That is nearly every
-- claim, and the keys go from step to step as one text: the driver hands rows over one by one, and an item that is an
-- object of its own is parsed at each mention of a field.
--
-- One write transaction: `pick` for each stage asked for, later stage first, with what is left of the limit; then for
-- each of them `take`, and `read` of `claim.sql`. If it does not write as many rows as it has keys, it is undone, and
-- `claim.sql` finds out why.

-- step: pick
-- The keys in the order of the queue, their number, and how many of them are not plain to take.
-- Guarantee, index and binds: those of `ready_rows.sql`.
select json_group_array(picked.item), count(*), coalesce(sum(picked.is_special), 0)
from (
  select
    t.:"key" as item,
    :retries >= ?5 or :resets >= ?6 or (:resets >= 1 and :resets = ?6 - 1) as is_special
  :ready_rows
) as picked

-- step: take
-- Guarantee: matches the ready word that was picked. The heartbeat is stamped by the claim itself.
-- Index:     the key's, one look-up an item. The `+` keeps every other index away: one on the status would hold the whole
--            backlog, and without statistics SQLite takes it for ten rows.
-- Binds:     ?1 keys, JSON  ?2 now  ?3 token  ?4 holder  ?5 ready word  ?6 word in progress
update :table as t
set
  :"status" = ?6,
  :"claim_token" = ?3,
  :"claimed_by" = ?4,
  :"claimed_at" = ?2,
  :"heartbeat_at" = ?2,
  :"updated_at" = ?2
where t.:"key" in (select value from json_each(?1))
  and +t.:"status" = ?5
