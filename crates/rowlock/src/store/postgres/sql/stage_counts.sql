-- stage_counts: for each stage, since when its oldest item has been ready, when the next one is due, how many will
-- never be due, and the oldest heartbeat.
--
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
      and t.:"status" in (:ready_words)
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= coalesce($3::timestamptz, statement_timestamp())
    order by coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    limit 1
  ), '-infinity') as oldest_ready_since,
  (
    select coalesce(t.:"retry_after", t.:"created_at", '-infinity')
    from :table t
    where t.:"status" = asked.ready
      and t.:"status" in (:ready_words)
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
        and t.:"status" in (:ready_words)
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
