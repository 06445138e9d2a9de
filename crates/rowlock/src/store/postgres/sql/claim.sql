-- claim: takes a batch of ready items for one worker, atomically: of several stages, items at a limit and suspects.
-- One stage's plain items have faster texts, claim_plain.sql and claim_full.sql, which meet none of these; where they
-- meet one, this statement follows.
--
-- Forms:     `claim`. `claim_part` (`by_place`), for parts of a batch that failed as a whole: for the rows that
--            pick_locked.sql has locked and named by their places. It is planned for each part. One text for both
--            would have both conditions behind an `or`, which no index serves. Nor would a smaller limit do: each part
--            would begin with the same row.
--            From `step: pick` to `step: take` this is also `:pick` of preview.sql and pick_locked.sql.
-- Guarantee: one holder per item: `for update skip locked`, then an update by key of exactly those rows. The claim
--            itself stamps the heartbeat. Items at a limit become FAILED here, and the answer tells them apart. No more
--            than the limit; only items that are due; later stages first, each by age; nothing is sorted.
-- Order:     none. The caller sorts the claimed items, which costs less than sorting whole rows here: 2 to 3 µs in the
--            server.
-- Index:     the partial one over the ready words, on (status, ready since), whose predicate is repeated; otherwise the
--            planner would not use it. Each stage is one ordered scan of it. The nested loop is lazy: if a later stage
--            fills the batch, the earlier one is not read, and only rows that are returned are locked.
--            Then the key's. `= any (array(…))` and not a join: a generic plan would plan a join for a tenth of the
--            table. The ready words are compared through coalesce; otherwise the planner could choose the ready index,
--            and each claim would read the whole backlog.
-- Binds:     $1 ready words, later stage first   $2 limit   $3 now, or null   $4 max_retries   $5 max_resets
--            $6 leave exhausted items out   $7 keys to leave out, or null
--            $8 in `claim_part` only these places, else null   $9 the claimer holds nothing else
--            $10 token   $11 holder   $12 whether the queue is full
with
-- The transactions that were not over when this statement began, by their age as age(xid) gives it: those that were
-- running, and the first of those that began later. Read only if the queue is full.
snapshot as materialized (
  select
    age(pg_snapshot_xmax(pg_current_snapshot())::xid) as began_later,
    array(select age(other::xid) from pg_snapshot_xip(pg_current_snapshot()) as running (other)) as running
),
-- step: pick
stage as (
  select asked.position, asked.ready
  from unnest($1::text[]) with ordinality as asked (ready, position)
  where not exists (
    select
    from :rowlock_stages s
    where s.pipeline = :'pipeline' and :ready_of_stage = asked.ready
  )
  order by asked.position
),
picked as materialized (
  select row_number() over () as n, queue.key, queue.retry_count, queue.reset_count
  from (
    select item.*
    from stage
    cross join lateral (
      select t.:"key" as key, coalesce(t.:"retry_count", 0) as retry_count, coalesce(t.:"reset_count", 0) as reset_count
      from :table t
      where
        \if :by_place
        -- A bad row may break every other way to find it: its key may not be valid text on this connection, or may be
        -- out of range of the pipeline's key type. A place names the partition too, because rows of different
        -- partitions have the same ctid.
        coalesce(t.:"status", '') = stage.ready
        and t.ctid = any (array(select split_part(place, ' ', 2)::tid from unnest($8::text[]) as given (place)))
        and concat(t.tableoid, ' ', t.ctid) = any ($8::text[])
        \else
        t.:"status" = stage.ready and :is_ready and $8::text[] is null
        \endif
        and t.:"key" is not null
        and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= coalesce($3::timestamptz, statement_timestamp())
        -- The keys are compared as text, because one of them may be out of range of the key's type. A key whose bytes
        -- are not valid text is compared in the form in which it is shown. If no key is to be left out, no key is
        -- converted to text.
        and (
          $7::text[] is null
          or t.:"key"::text <> all ($7::text[])
          and (
            getdatabaseencoding() <> 'SQL_ASCII'
            or concat('\x', encode(convert_to(t.:"key"::text, 'SQL_ASCII'), 'hex')) <> all ($7::text[])
          )
        )
        and (not $6::bool or (coalesce(t.:"retry_count", 0) < $4::int and coalesce(t.:"reset_count", 0) < $5::int))
        \if :may_be_full
        -- This claim begins at the start of the queue, unlike claim_full.sql. If the queue is full, it too leaves out
        -- rows that other transactions are changing: claim_full.sql says why and how.
        and coalesce(t.:"retry_after", t.:"created_at", '-infinity') >= coalesce(null::timestamptz, '-infinity')
        and (
          not $12::bool
          or age(t.xmax) < -10000
          or age(t.xmax) > (select began_later from snapshot)
            and age(t.xmax) <> all ((select running from snapshot)::int[])
        )
        \endif
      order by :queue_order
      limit $2::bigint
      \if :locks
      for update of t skip locked
      \endif
    ) item
    limit $2::bigint
  ) queue
),
judged as materialized (
  select
    n,
    key,
    retry_count >= $4::int or reset_count >= $5::int as exhausted,
    reset_count >= 1 and reset_count = $5::int - 1 as suspect
  from picked
),
head as materialized (
  select n, suspect
  from judged
  where not exhausted
  order by n
  limit 1
),
-- A suspect is taken only from the head, only by a claimer that holds nothing else, and alone: anything else in
-- progress there could kill the process and cost the suspect its last reset. Other suspects wait.
chosen as materialized (
  select n, key, exhausted
  from judged
  where exhausted
     or case
          when $9::bool and (select head.suspect from head) then n = (select head.n from head)
          else not suspect
        end
)
-- step: take
, moved as (
  update :table t
  set
    :"status" = case when t.:"retry_count" >= $4 or t.:"reset_count" >= $5 then :'failed' else :running_of_ready end,
    :"claim_token" = case when t.:"retry_count" >= $4 or t.:"reset_count" >= $5 then null else $10::bigint end,
    :"claimed_by" = case when t.:"retry_count" >= $4 or t.:"reset_count" >= $5 then t.:"claimed_by" else $11::text end,
    :"claimed_at" = case
      when t.:"retry_count" >= $4 or t.:"reset_count" >= $5 then t.:"claimed_at"
      else coalesce($3, statement_timestamp())
    end,
    :"heartbeat_at" = case
      when t.:"retry_count" >= $4 or t.:"reset_count" >= $5 then t.:"heartbeat_at"
      else coalesce($3, statement_timestamp())
    end,
    :"error_message" = case
      when t.:"retry_count" >= $4 then left(
        concat_ws(': ', format('Max retries (%s) exceeded', $4), left(t.:"error_message", 1000)),
        :error_chars_max
      )
      when t.:"reset_count" >= $5 then left(
        concat_ws(': ', format('Max resets (%s) exceeded', $5), left(t.:"error_message", 1000)),
        :error_chars_max
      )
      else t.:"error_message"
    end,
    :"resume_status" = case
      when t.:"retry_count" >= $4 or t.:"reset_count" >= $5 then t.:"status"
      else t.:"resume_status"
    end,
    :"retry_after" = case when t.:"retry_count" >= $4 or t.:"reset_count" >= $5 then null else t.:"retry_after" end,
    :"updated_at" = coalesce($3, statement_timestamp())
  where t.:"key" = any (array(select key from chosen))
    and coalesce(t.:"status", '') in (:ready_words)
  returning
    t.*,
    coalesce(t.:"retry_after", t.:"created_at", '-infinity') as rowlock_ready_since,
    t.:"key"::text as rowlock_key:and_role_values
),
failed as (
  select
    rowlock_key as item, moved.:"resume_status" as word, 'exhaust' as cause, moved.:"claimed_by" as holder,
    moved.:"error_message" as error
  from moved
  where moved.:"status" = :'failed'
),
:log_failures
select moved.*, tally.*
from (
  select
    (select count(*) from picked) as rowlock_picked,
    (select count(*) from chosen) as rowlock_chosen,
    not $9 and coalesce((select head.suspect from head), false) as rowlock_suspect_at_head
) tally
left join moved on true
