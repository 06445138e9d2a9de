-- failures: the last failures of an item, latest first. They are recorded under the key as the table spells it; if the
-- table has no such key, the lookup uses the given spelling.
-- Index: the key's, then (pipeline, item), which ends in the id.
-- Binds: ?1 key  ?2 limit
select failed_at, word, cause, holder, error
from :rowlock_failures
where pipeline = :'pipeline'
  and item = cast(coalesce((select t.:"key" from :table as t where t.:"key" = ?1), ?1) as text)
order by id desc
limit ?2
