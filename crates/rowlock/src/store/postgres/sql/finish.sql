-- finish: ends leases, each with its own outcome, in any mixture.
--
-- Forms:     `finish` skips what others have locked. `finish_one` (`waits`), for a single item and in the user's
--            transaction, waits for its row.
-- Guarantee: every row is matched by key, token and its stage's word in progress; a row that does not match is not
--            written. This one statement counts, decides and moves. The token stays, so that a lost answer can be
--            settled.
-- Index:     the key's, one lookup per item. The predicate does not list the words in progress; otherwise the planner
--            would choose the index on the token, in which a whole batch shares one token. generate_series makes a
--            generic plan expect a thousand items, so that it hashes them and does not compare each with each.
-- Binds:     $1 keys   $2 tokens   $3 now, or null   $4 words in progress   $5 outcomes   $6 errors
--            $7 delays that handlers chose, in seconds   $8 times to snooze until   $9 rows of the delay table
--            $10 the delay table, in seconds: a row per stage, a column per attempt   $11 its jitters   $12 its floors
--            $13 number of its columns   $14 max_retries   $15 number of items
with
input as (
  select i.*
  from rows from (
    unnest($1::text[]:::key_array), unnest($2::bigint[]), unnest($4::text[]), unnest($5::text[]), unnest($6::text[]),
    unnest($7::float8[]), unnest($8::timestamptz[]), unnest($9::int[]), generate_series(1, $15::int)
  ) as i (key, token, word, outcome, error, own_delay, due, policy, n)
),
leases as materialized (
  -- Those that are still held, with the places of their rows.
  select input.*, locked.place
  from input
  cross join lateral (
    select t.ctid as place
    from :table t
    where t.:"key" = input.key
      and t.:"claim_token" = input.token
      and t.:"status" = input.word
    \if :waits
    for no key update
    \else
    for no key update skip locked
    \endif
  ) locked
),
moved as (
  update :table t
  set
    :"status" = case
      when i.outcome = 'complete' then :next_of_running
      when i.outcome = 'fail' or (i.outcome = 'retry' and coalesce(t.:"retry_count", 0) + 1 >= $14::int) then :'failed'
      else :ready_of_running
    end,
    :"retry_count" = case
      when i.outcome = 'retry' then coalesce(t.:"retry_count", 0) + 1
      when i.outcome = 'complete' and :budget_is_per_stage then 0
      else t.:"retry_count"
    end,
    :"reset_count" = case when i.outcome = 'complete' and :budget_is_per_stage then 0 else t.:"reset_count" end,
    :"retry_after" = case
      when i.outcome = 'retry' and coalesce(t.:"retry_count", 0) + 1 < $14::int
      then coalesce($3::timestamptz, statement_timestamp()) + make_interval(secs => coalesce(
        i.own_delay,
        greatest(
          ($12::float8[])[i.policy],
          ($10::float8[])[(i.policy - 1) * $13::int + least(coalesce(t.:"retry_count", 0) + 1, $13::int)]
            * (1 + ($11::float8[])[i.policy] * (2 * random() - 1))
        )
      ))
      when i.outcome = 'snooze' and i.due is null
      then coalesce($3::timestamptz, statement_timestamp()) + make_interval(secs => i.own_delay)
      when i.outcome = 'snooze' then i.due
      when i.outcome = 'release' then t.:"retry_after"
    end,
    :"error_message" = case
      when i.outcome = 'retry' and coalesce(t.:"retry_count", 0) + 1 >= $14::int
      then left(format('Max retries (%s) exceeded: %s', $14::int, i.error), :error_chars_max)
      when i.outcome = 'complete' then :error_after_completion
      else coalesce(left(i.error, :error_chars_max), t.:"error_message")
    end,
    :"resume_status" = case
      when i.outcome = 'fail' or (i.outcome = 'retry' and coalesce(t.:"retry_count", 0) + 1 >= $14::int)
      then :ready_of_running
      else t.:"resume_status"
    end,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  from leases i
  where
    \if :waits
    -- The rows may have moved while this statement waited for them.
    t.:"key" = any (array(select key from leases)) and t.:"key" = i.key
    \else
    -- At the places where they are locked. A row that changed in the moment before is locked at a place that the
    -- statement does not see, and stays as it is. In a partitioned table other rows have the same places, hence the key
    -- as well.
    t.ctid = any (array(select place from leases)) and t.:"key" = i.key
    \endif
    and t.:"claim_token" = i.token
    and t.:"status" = i.word
  returning
    i.n, t.:"key"::text as item, t.:"status" as word, i.word as was, i.outcome, t.:"claimed_by" as holder,
    t.:"error_message" as error
),
failed as (
  select item, was as word, outcome as cause, holder, error
  from moved
  where outcome in ('retry', 'fail')
),
:log_failures
select n, word
from moved
