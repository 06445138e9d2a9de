-- counts: the number of items in each state, each counted no further than the limit; and for each stage, since when its
-- oldest item has been ready, when the next one is due, how many will never be due, and the oldest heartbeat. That is
-- `words` and `stages`; `unfinished` is for a worker, which asks only what is left to wait for.

-- step: words
-- The counts of all words. A word without items may be missing.
-- Index: the partial ones over the ready words, over those in progress and over the others. Their predicates are
--        repeated here; otherwise the planner would not use them. The other words are found by skipping from word to
--        word. Successes are counted by a scan that ends at the limit; where fewer succeeded, it reads the whole table.
-- Binds: $1 limit   $2 most words of the others
with recursive stopped (word) as (
  select min(t.:"status")::text
  from :table t
  where :is_stopped
  union all
  select (select min(t.:"status")::text from :table t where :is_stopped and t.:"status" > stopped.word)
  from stopped
  where stopped.word is not null
)
select ready.word, tally.count
from unnest(array[:ready_words]::text[]) as ready (word)
cross join lateral (
  select count(*)
  from (
    select
    from :table t
    where :is_ready and t.:"status" = ready.word and t.:"key" is not null
    limit $1::bigint
  ) counted
) tally
union all
select running.word, tally.count
from unnest(array[:running_words]::text[]) as running (word)
cross join lateral (
  select count(*)
  from (
    select
    from :table t
    where t.:"status" in (:running_words) and t.:"status" = running.word and t.:"key" is not null
    limit $1::bigint
  ) counted
) tally
union all
select :'succeeded', count(*)
from (select from :table t where t.:"status" = :'succeeded' limit $1::bigint) counted
union all
select :shown_other_word, tally.count
from (select word from stopped where word is not null limit $2::bigint) others
cross join lateral (
  select count(*)
  from (select from :table t where :is_stopped and t.:"status" = others.word limit $1::bigint) counted
) tally
union all
select null, count(*)
from (select from :table t where :is_stopped and t.:"status" is null limit $1::bigint) counted

-- step: stages
-- What `counts` says of each stage beside the counts.
-- Index: the partial one over the ready words, three lookups per stage; the partial one over the words in progress.
-- Binds: $1 ready words, in the order of the stages   $2 words in progress, in the same order   $3 now, or null
--        $4 limit of the count of items that are never due
select
  coalesce($3::timestamptz, statement_timestamp()) as at,
  exists (
    select from :rowlock_stages s where s.pipeline = :'pipeline' and :ready_of_stage = asked.ready
  ) as paused,
  nullif((
    select coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    from :table t
    where t.:"status" = asked.ready
      and :is_ready
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= coalesce($3::timestamptz, statement_timestamp())
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    limit 1
  ), '-infinity') as oldest_ready_since,
  (
    select coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    from :table t
    where t.:"status" = asked.ready
      and :is_ready
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') > coalesce($3::timestamptz, statement_timestamp())
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') < :never
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    limit 1
  ) as next_due_at,
  (
    select count(*)
    from (
      select
      from :table t
      where t.:"status" = asked.ready
        and :is_ready
        and t.:"key" is not null
        and coalesce(t.:"retry_after", t.:"created_at", '-infinity') >= :never
      limit $4::bigint
    ) counted
  ) as never_due,
  (
    select min(t.:"heartbeat_at")
    from :table t
    where t.:"status" = asked.running
      and t.:"status" in (:running_words)
      and t.:"key" is not null
  ) as oldest_heartbeat_at
from unnest($1::text[], $2::text[]) with ordinality as asked (ready, running, position)
order by asked.position

-- step: unfinished
-- How many items of each stage are ready and in progress, and what `stages` returns of it. Due items are counted only
-- where none is delayed.
-- Buys:  it was 10 s of the server in a retry storm of 60 s, and is 2 s since it reads neither successes nor, where
--        items are delayed, what was claimed before.
-- Index: the partial one over the ready words. The due entries begin with those of everything that was claimed since
--        the last vacuum, and passing over them costs more the more was done; the delayed entries are free of them. The
--        partial one over the words in progress, read again only if there are any.
-- Binds: $1 limit   $2 ready words, in the order of the stages   $3 words in progress, in the same order
--        $4 now, or null
select
  clock.at,
  exists (
    select from :rowlock_stages s where s.pipeline = :'pipeline' and :ready_of_stage = asked.ready
  ) as paused,
  delayed.count + due.count + never.count as ready_count,
  running.count as running_count,
  due.since as oldest_ready_since,
  delayed.next_due_at,
  never.count as never_due,
  case when running.count > 0 then (
    select min(t.:"heartbeat_at")
    from :table t
    where t.:"status" = asked.running
      and t.:"status" in (:running_words)
      and t.:"key" is not null
  ) end as oldest_heartbeat_at
from (select coalesce($4::timestamptz, statement_timestamp()) as at) clock
cross join unnest($2::text[], $3::text[]) with ordinality as asked (ready, running, position)
cross join lateral (
  select count(*), min(ready.since) as next_due_at
  from (
    select coalesce(t.:"retry_after", t.:"created_at", '-infinity') as since
    from :table t
    where t.:"status" = asked.ready
      and :is_ready
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') > clock.at
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') < :never
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    limit $1::bigint
  ) ready
) delayed
cross join lateral (
  select count(*), nullif(min(ready.since), '-infinity') as since
  from (
    select coalesce(t.:"retry_after", t.:"created_at", '-infinity') as since
    from :table t
    where delayed.count = 0
      and t.:"status" = asked.ready
      and :is_ready
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= clock.at
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    limit $1::bigint
  ) ready
) due
cross join lateral (
  select count(*)
  from (
    select
    from :table t
    where t.:"status" = asked.ready
      and :is_ready
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') >= :never
    limit $1::bigint
  ) counted
) never
cross join lateral (
  select count(*)
  from (
    select
    from :table t
    where t.:"status" = asked.running
      and t.:"status" in (:running_words)
      and t.:"key" is not null
    limit $1::bigint
  ) counted
) running
order by asked.position
