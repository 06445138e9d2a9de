-- log_failures: records the last failures of each item in the transaction that fails it.

-- step: add
-- Binds: ?1 failures (item, word, cause, holder, error), JSON  ?2 now
insert into :rowlock_failures (pipeline, item, failed_at, word, cause, holder, error)
select
  :'pipeline',
  i.value ->> 'item',
  ?2,
  i.value ->> 'word',
  i.value ->> 'cause',
  i.value ->> 'holder',
  i.value ->> 'error'
from json_each(?1) as i
where true

-- step: prune
-- The subquery is the newest failure beyond those to keep; its value bounds the index scan from above.
-- Index: (pipeline, item), which ends in the id.
-- Binds: ?1 failures (item), JSON  ?2 failures to keep
delete from :rowlock_failures
where id in (
  select f.id
  from json_each(?1) as i
  cross join :rowlock_failures as f
  where f.pipeline = :'pipeline'
    and f.item = i.value ->> 'item'
    and f.id <= (
      select n.id
      from :rowlock_failures as n
      where n.pipeline = :'pipeline'
        and n.item = i.value ->> 'item'
      order by n.id desc
      limit 1 offset ?2
    )
)
