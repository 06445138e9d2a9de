-- items: the rows of a batch, as JSON objects; a field that an object lacks is null. Shared by the batch statements,
-- which materialise it: else each mention of a field would parse its object again.
-- Binds: ?1 items, JSON
select
  value ->> 'key' as item,
  value ->> 'token' as token,
  value ->> 'word' as word,
  value ->> 'move' as move,
  value ->> 'stage' as stage,
  value ->> 'error' as error,
  value ->> 'spent_error' as spent_error,
  value ->> 'delay_ms' as delay_ms,
  value ->> 'due' as due,
  value ->> 'heartbeat' as heartbeat
from json_each(?1)
