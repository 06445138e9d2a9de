-- failures: the last failures of an item, latest first.
--
-- Index: rowlock_failures (pipeline, left(item, 200), id).
-- Binds: $1 key
select failed_at, word, cause, holder, error
from :rowlock_failures
where pipeline = :'pipeline'
  and left(item, 200) = left(($1::text):::key_type::text, 200)
  and item = ($1::text):::key_type::text
order by id desc
limit :failures_kept
