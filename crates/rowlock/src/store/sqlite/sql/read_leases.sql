-- read_leases: the word, the token, the heartbeat and the key that rows have now; writes nothing. One row per item, in
-- order; `found` is 0 if the item's row does not exist.
--
-- Index: the key's, one lookup per item.
-- Binds: ?1 items (key), JSON
select
  t.:"key" is not null as found,
  t.:"status",
  t.:"claim_token",
  :heartbeat,
  t.:"key"
from json_each(?1) as i
left join :table as t on t.:"key" = i.value ->> 'key'
order by i.rowid
