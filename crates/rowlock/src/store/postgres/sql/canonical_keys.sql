-- canonical_keys: finds which of the given keys are items of the table, and which of them are the same item. Returns
-- each key with its position in the input, in the table's sort order: every verb that may wait locks rows in this
-- order. Keys that the table does not have come last, with a null `item`; different spellings of one key have the same
-- `item`.
--
-- Index: the key's, one lookup per key.
-- Binds: $1 keys
select
  given.position,
  (given.key):::key_type::text as key,
  case when item.key is not null then dense_rank() over (order by item.key) end as item
from unnest($1::text[]) with ordinality as given (key, position)
left join lateral (
  select t.:"key" as key
  from :table t
  where t.:"key" = (given.key):::key_type
  limit 1
) item on true
order by item.key, given.position
