-- failures: the last failures of an item, latest first.
-- Index: (pipeline, item), which ends in the id.
-- Binds: ?1 item  ?2 limit
select failed_at, word, cause, holder, error
from :rowlock_failures
where pipeline = :'pipeline'
  and item = ?1
order by id desc
limit ?2
