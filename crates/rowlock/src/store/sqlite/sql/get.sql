-- get: one item.
-- Index: the key's.
-- Binds: ?1 key
select t.*:and_role_values
from :table as t
where t.:"key" = ?1
