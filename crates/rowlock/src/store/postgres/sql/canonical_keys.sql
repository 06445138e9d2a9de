-- canonical_keys: keys as the table writes them, each with its position in what was given, in the order in which the
-- table sorts them: in that order everybody locks. A key that the table does not have comes last.
--
-- Index: the key's, one look-up a key.
-- Binds: $1 keys
select given.position, (given.key):::key_type::text as key
from unnest($1::text[]) with ordinality as given (key, position)
left join lateral (
  select t.:"key" as key
  from :table t
  where t.:"key" = (given.key):::key_type
  limit 1
) item on true
order by item.key, given.position
