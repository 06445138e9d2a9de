-- explain: the facts about one item. Pauses are read by `paused.sql` in the same reading transaction; what the facts
-- mean is said by the code.
-- Index: the key's.
-- Binds: ?1 key
select t.*
from :table as t
where t.:"key" = ?1
