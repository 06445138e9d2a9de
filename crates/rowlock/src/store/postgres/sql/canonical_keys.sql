-- canonical_keys: keys as the table writes them, in the order in which they were given.
--
-- Binds: $1 keys
select (given.key):::key_type::text as key
from unnest($1::text[]) with ordinality as given (key, position)
order by given.position
