-- failures: the last failures of an item, latest first. They are recorded under the key as the table spells it; if the
-- table has no such key, the lookup uses the given spelling.
--
-- Index: the key's, then rowlock_failures (pipeline, left(item, 200), id). The latter has the database's collation,
--        whatever that of the key is.
-- Binds: $1 key
with recorded as (
  select coalesce(
    (select t.:"key"::text from :table t where t.:"key" = ($1::text):::key_type),
    ($1::text):::key_type::text
  ) collate "default" as item
)
select failed_at, :shown_failed_word as word, cause, :shown_failed_holder as holder, :shown_failed_error as error
from :rowlock_failures f
where pipeline = :'pipeline'
  and left(item, 200) = left((select item from recorded), 200)
  and item = (select item from recorded)
order by id desc
limit :failures_kept
