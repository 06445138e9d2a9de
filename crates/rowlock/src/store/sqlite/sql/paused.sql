-- paused: the stages that are paused, by name.
select stage
from :rowlock_stages
where pipeline = :'pipeline'
