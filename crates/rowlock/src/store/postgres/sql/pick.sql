-- pick: the items that a claim would take, in the order of the queue. Shared by claim and preview.
--
-- Guarantee: no more than the limit; only items that are due; later stages first, each by age; nothing is sorted.
-- Index:     that of `ready_rows`. Each stage is one ordered scan of it. The nested loop is lazy: if a later stage
--            fills the batch, the earlier one is not read, and only rows that are returned are locked.
-- Binds:     $1 ready words, later stage first   $2 limit   $3 now, or null   $4 max_retries   $5 max_resets
--            $6 leave exhausted items out   $7 keys to leave out, or null
--            $8 in `claim_part` only these places, else null   $9 the claimer holds nothing else
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
      :ready_rows
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
