-- log_failures: records the last failures of each item in the statement that fails it. Part of claim, finish, refuse
-- and sweep, where it is `:log_failures`.
--
-- Forms:     without the log (`unlogged`), for a log that cannot be written: the failures are lost, and the items move.
-- Guarantee: a failure is recorded if and only if the move is written; no more than the limit are kept.
-- Index:     (pipeline, left(item, 200), id), one scan of an item's failures. It has the database's collation, whatever
--            that of the key is.
-- Binds:     $3 now, or null, of the statement that it is part of
--
-- Reads the CTE `failed (item, word, cause, holder, error)`, in which an item occurs once. This statement's snapshot
-- does not contain the row that it inserts, so it deletes what lies beyond the limit less one.
\if :unlogged
logged as (
  select from failed
)
\else
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
\endif
