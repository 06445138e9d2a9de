-- paused: the names of the stages for which claims are stopped, in any order.
--
-- Index: none; a pipeline has few stages.
-- Binds: none
select stage
from :rowlock_stages
where pipeline = :'pipeline'
