-- get: one item.
-- Index: the key's.
-- Binds: ?1 key
select t.*
from :table as t
where t.:"key" = ?1
