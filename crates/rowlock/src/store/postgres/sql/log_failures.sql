-- log_failures: the last failures of each item, written in the statement that fails it. Shared by claim, finish, sweep.
--
-- Guarantee: written if and only if the move is; no more than are kept stay.
-- Index:     (pipeline, left(item, 200), id), one scan of what an item has. It has the database's collation, whatever
--            that of the key is.
-- Binds:     $3 now, or null, of the statement that it is part of
--
-- Reads the CTE `failed (item, word, cause, holder, error)`. One item stands in it once: the older rows beyond the
-- limit are those that this statement's snapshot sees beyond the limit less one.
logged as (
  insert into :rowlock_failures (pipeline, item, failed_at, word, cause, holder, error)
  select :'pipeline', item, coalesce($3::timestamptz, statement_timestamp()), word, cause, holder, error
  from failed
),
pruned as (
  delete from :rowlock_failures f
  where f.id = any (array(
    select old.id
    from failed
    cross join lateral (
      select id
      from :rowlock_failures
      where pipeline = :'pipeline' and left(item, 200) = left(failed.item collate "default", 200)
        and item = failed.item collate "default"
      order by id desc
      offset :failures_kept_less_one
    ) old
  ))
)
