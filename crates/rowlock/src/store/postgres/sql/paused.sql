-- paused: the stages for which claims are stopped.
select stage
from :rowlock_stages
where pipeline = :'pipeline'
