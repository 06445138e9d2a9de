-- paused: the stages for which claims are stopped, by name, in any order.
-- Index: none; a pipeline has few stages.
-- Binds: none
select stage
from :rowlock_stages
where pipeline = :'pipeline'
