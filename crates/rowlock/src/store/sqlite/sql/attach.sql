-- attach: what `attach` asks before a step, and how it stamps rows in progress some at a time.

-- step: any_in_progress
-- Whether any row is in progress by what the table says; the library's own column may not be there yet.
select exists (select 1 from :table as t where :said_status in (:running_words))

-- step: any_unstamped
-- The same for rows without a heartbeat.
select exists (
  select 1
  from :table as t
  where :said_status in (:running_words)
    and t.:"heartbeat_at" is null
)

-- step: unleased
-- Rows in progress under no lease of Rowlock's, counted no further than the limit. Rendered by itself: the column of
-- the tokens may not be there yet.
-- Binds: ?1 limit
select count(*)
from (
  select 1
  from :table as t
  where :said_status in (:running_words):and_unleased
  limit ?1
)

-- step: last_rowid
-- About how many rows the table has, as long as few were deleted.
select coalesce(max(t._rowid_), 0)
from :table as t

-- step: stamp_until
-- The last rowid of a batch; null if there are no more rows.
-- Binds: ?1 the last rowid of the batch before   ?2 rows
select max(batch.number)
from (
  select t._rowid_ as number
  from :table as t
  where t._rowid_ > ?1
  order by t._rowid_
  limit ?2
) as batch

-- step: stamp_range
-- Stamps the rows of a batch that another program may be working on.
-- Index: the rowid.
-- Binds: ?1 now   ?2 the last rowid of the batch before   ?3 the last rowid
update :table as t
set :"heartbeat_at" = ?1
where t._rowid_ > ?2
  and t._rowid_ <= ?3
  and :said_status in (:running_words)
  and t.:"heartbeat_at" is null

-- step: noted
-- Which of these columns are noted as added by Rowlock, each with the pipeline.
-- Binds: ?1 notes, a JSON array
select m.key, m.value
from :rowlock_meta as m
where m.key in (select value from json_each(?1))

-- step: note
-- Notes columns as added by Rowlock. One that is noted already stays with the pipeline that added it.
-- Binds: ?1 notes, a JSON array   ?2 the pipeline
insert into :rowlock_meta (key, value)
select value, ?2
from json_each(?1)
where true
on conflict (key) do nothing
