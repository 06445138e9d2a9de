-- preview: whole rows by key: those that `pick` of claim.sql found, in the same read transaction.
-- Index: the key's.
-- Binds: ?1 keys, JSON
select t.*:and_role_values
from json_each(?1) as i
cross join :table as t on t.:"key" = i.value
