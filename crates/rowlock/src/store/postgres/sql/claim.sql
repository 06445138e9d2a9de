-- claim: takes a batch of ready items for one worker, atomically.
--
-- Guarantee: one holder per item: `for update skip locked`, then an update by key of exactly those rows. The claim
--            itself stamps the heartbeat. Items at a limit become FAILED here, and the answer tells them apart.
-- Order:     none. The caller sorts the claimed items, which costs less than sorting whole rows here.
-- Index:     that of `pick`, then the key's. `= any (array(…))` and not a join: a generic plan would plan a join for a
--            tenth of the table. The ready words are compared through coalesce; otherwise the planner could choose the
--            ready index, and each claim would read the whole backlog.
-- Binds:     $1 to $9 as in pick   $10 token   $11 holder   $12 whether the queue is full
with
:snapshot,
:pick,
moved as (
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
    t.:"key"::text as rowlock_key
),
failed as (
  select
    rowlock_key as item, :"resume_status" as word, 'exhaust' as cause, :"claimed_by" as holder,
    :"error_message" as error
  from moved
  where :"status" = :'failed'
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
