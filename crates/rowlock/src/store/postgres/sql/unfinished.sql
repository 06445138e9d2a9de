-- unfinished: for each stage, how many items are ready and in progress, each counted no further than the limit, and
-- what `stage_counts` returns of it. Due items are counted only where none is delayed.
--
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
      and t.:"status" in (:ready_words)
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
      and t.:"status" in (:ready_words)
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
      and t.:"status" in (:ready_words)
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
