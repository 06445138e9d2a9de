-- unfinished: of each stage, how many items are ready and in progress, counted no further than the limit, and what
-- `stage_counts` says of it; since when the oldest is ready only where none is delayed.
--
-- Index: the partial one over the ready words, from the youngest on: at its other end lies what was claimed since the last
--        vacuum, and to pass over that would cost more the more was done. The partial one over the words in progress, a
--        second time only if there are any.
-- Binds: $1 limit   $2 ready words, in the order of the stages   $3 words in progress, in the same order   $4 now, or null
select
  clock.at,
  exists (
    select from :rowlock_stages s where s.pipeline = :'pipeline' and :ready_of_stage = asked.ready
  ) as paused,
  ready.count as ready_count,
  running.count as running_count,
  case when delayed.next_due_at is null then nullif((
    select coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    from :table t
    where t.:"status" = asked.ready
      and t.:"status" in (:ready_words)
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= clock.at
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    limit 1
  ), '-infinity') end as oldest_ready_since,
  nullif(delayed.next_due_at, 'infinity') as next_due_at,
  case when running.count > 0 then (
    select min(t.:"heartbeat_at")
    from :table t
    where t.:"status" = asked.running
      and t.:"status" in (:running_words)
  ) end as oldest_heartbeat_at
from (select coalesce($4::timestamptz, statement_timestamp()) as at) clock
cross join unnest($2::text[], $3::text[]) with ordinality as asked (ready, running, position)
cross join lateral (
  select count(*)
  from (
    select
    from :table t
    where t.:"status" in (:ready_words)
      and t.:"status" = asked.ready
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity') desc
    limit $1::bigint
  ) counted
) ready
cross join lateral (
  select count(*)
  from (
    select from :table t where t.:"status" in (:running_words) and t.:"status" = asked.running limit $1::bigint
  ) counted
) running
cross join lateral (
  select (
    select coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    from :table t
    where t.:"status" = asked.ready
      and t.:"status" in (:ready_words)
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') > clock.at
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    limit 1
  ) as next_due_at
) delayed
order by asked.position
