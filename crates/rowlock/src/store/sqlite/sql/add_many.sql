-- add_many: inserts keys in bulk; a key that exists is skipped.
--
-- Everything else takes its default, but for `created_at`: SQLite cannot give a column that is added to a table a
-- default that calls a function, and without a time the new items would pass all the older ones.
-- Binds: ?1 keys, JSON  ?2 now
insert into :table (:"key", :"created_at")
select value, ?2
from json_each(?1)
where true
on conflict (:"key") do nothing
