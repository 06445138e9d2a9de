-- counts: the number of items in each state, and when the ready ones are due. One read transaction. A limit of -1
-- counts to the end.

-- step: ready
-- Index: the partial one over the ready words.
-- Binds: ?1 word  ?2 limit  ?3 now
select
  (
    select count(*)
    from (
      select 1
      from :table as t
      where t.:"status" = ?1
        and :is_ready
        and :is_item
      limit ?2
    )
  ),
  (
    select :ready_since
    from :table as t
    where t.:"status" = ?1
      and :is_ready
      and :ready_since <= ?3
      and :is_item
    order by :ready_since
    limit 1
  ),
  (
    select :ready_since
    from :table as t
    where t.:"status" = ?1
      and :is_ready
      and :ready_since > ?3
      and :ready_since < :never
      and :is_item
    order by :ready_since
    limit 1
  ),
  (
    select count(*)
    from (
      select 1
      from :table as t
      where t.:"status" = ?1
        and :is_ready
        and :ready_since >= :never
        and :is_item
      limit ?2
    )
  )

-- step: running
-- Index: the partial one over the words in progress.
-- Binds: ?1 word  ?2 limit
select count(*), min(heartbeat)
from (
  select :heartbeat as heartbeat
  from :table as t
  where t.:"status" = ?1
    and t.:"status" in (:running_words)
    and :is_item
  limit ?2
)

-- step: succeeded
-- Index: none. The scan ends at the limit.
-- Binds: ?1 limit
select count(*)
from (select 1 from :table as t where t.:"status" = :'succeeded' limit ?1)

-- step: stopped
-- The words of items that failed, were cancelled or are unknown to the pipeline; null is one of them. Skips from word
-- to word.
-- Index: the partial one over the other words, on (status, key).
-- Binds: ?1 limit  ?2 most words
with recursive word (word) as (
  select min(t.:"status")
  from :table as t
  where :is_stopped
  union all
  select (select min(t.:"status") from :table as t where :is_stopped and t.:"status" > word.word)
  from word
  where word.word is not null
  limit ?2
)
select
  word.word,
  (
    select count(*)
    from (select 1 from :table as t where :is_stopped and t.:"status" = word.word limit ?1)
  )
from word
where word.word is not null
union all
select null, (select count(*) from (select 1 from :table as t where :is_stopped and t.:"status" is null limit ?1))

-- step: strange_ready
-- Rows that would be ready for a stage if their keys made them items, among so many of the first.
-- Index: the partial one over the ready words.
-- Binds: ?1 word  ?2 limit
select count(*)
from (
  select t.:"key"
  from :table as t
  where t.:"status" = ?1
    and :is_ready
  limit ?2
) as t
where :is_strange

-- step: strange_running
-- The same for rows in progress.
-- Index: the partial one over the words in progress.
-- Binds: ?1 word  ?2 limit
select count(*)
from (
  select t.:"key"
  from :table as t
  where t.:"status" = ?1
    and t.:"status" in (:running_words)
  limit ?2
) as t
where :is_strange
