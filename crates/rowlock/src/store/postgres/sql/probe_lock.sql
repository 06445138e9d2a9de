-- probe_lock: whether another transaction has an item's row locked; if so, the row is not returned.
--
-- Index: the key's.
-- Binds: $1 key
select
from :table t
where t.:"key" = ($1::text):::key_type
for no key update skip locked
