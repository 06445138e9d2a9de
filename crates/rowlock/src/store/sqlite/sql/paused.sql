-- paused: the names of the stages for which claims are stopped, in any order.
-- Index: the primary key's.
-- Binds: none
select stage
from :rowlock_stages
where pipeline = :'pipeline'
