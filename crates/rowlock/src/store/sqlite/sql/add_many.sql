-- add_many: inserts keys in bulk; skips keys that exist.
--
-- Every other column takes its default, except `created_at`: SQLite cannot give a column that is added to a table a
-- default that calls a function, and without a time the new items would overtake all older ones. The status is set too,
-- if its default may be another word.
-- Binds: ?1 keys, JSON  ?2 now
insert into :table (:"key", :"created_at":and_status)
select value, ?2:and_first_ready
from json_each(?1)
where true
on conflict (:"key") do nothing
