-- canonical_keys: which of the keys are items of the table, and which are the same item, each with its position in what
-- was given, in the order in which the table sorts them: in that order everybody locks. A key that the table does not
-- have comes last, and `item` is null; keys in different spellings of one item have the same.
--
-- Index: the key's, one look-up a key.
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
