-- items: the items of a batch, as JSON objects; a field that an object lacks is null. Shared by the batch statements,
-- which materialise it; otherwise each mention of a field would parse its object again. Fields that few moves need are
-- read from `more`, by those moves alone.
-- Binds: ?1 items, JSON
select
  value ->> 'key' as item,
  value ->> 'token' as token,
  value ->> 'word' as word,
  value ->> 'move' as move,
  value as more
from json_each(?1)
