-- failures: the last failures of an item, latest first.
--
-- Index: rowlock_failures (pipeline, item, id).
-- Binds: $1 key
select failed_at, word, cause, holder, error
from :rowlock_failures
where pipeline = :'pipeline'
  and item = ($1::text):::key_type::text
order by id desc
limit :failures_kept
