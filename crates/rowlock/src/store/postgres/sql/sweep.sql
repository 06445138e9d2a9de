-- sweep: takes items back from workers that stopped sending heartbeats.
--
-- Guarantee: this one statement counts the reset, makes the item FAILED at the limit, and clears the token. All workers
--            may run it at once.
-- Index:     that of `stale`, then the key's. The words are compared through coalesce; otherwise the planner could use
--            the running index again.
-- Binds:     as in stale
with
:stale,
moved as (
  update :table t
  set
    :"status" = case when coalesce(t.:"reset_count", 0) + 1 >= $4::int then :'failed' else :ready_of_running end,
    :"reset_count" = coalesce(t.:"reset_count", 0) + 1,
    :"retry_after" = case
      when coalesce(t.:"reset_count", 0) + 1 >= $4::int then null
      else coalesce($3::timestamptz, statement_timestamp())
    end,
    :"error_message" = left(concat(
      case when coalesce(t.:"reset_count", 0) + 1 >= $4::int then format('Max resets (%s) exceeded: ', $4::int) end,
      'worker ', coalesce(t.:"claimed_by", '(unknown)'), ' stopped: ',
      coalesce(
        'last heartbeat '
        || case
          when isfinite(t.:"heartbeat_at")
          then to_char(t.:"heartbeat_at" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
          else t.:"heartbeat_at"::text
        end
        || case
          when t.:"heartbeat_at" > coalesce($3::timestamptz, statement_timestamp()) then ', which is in the future'
          else ''
        end,
        'no heartbeat'
      )
    ), :error_chars_max),
    :"resume_status" = case
      when coalesce(t.:"reset_count", 0) + 1 >= $4::int then :ready_of_running
      else t.:"resume_status"
    end,
    :"claim_token" = null,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  where t.:"key" = any (array(select key from stale))
    and coalesce(t.:"status", '') in (:running_words)
  returning
    t.:"key"::text as item, t.:"status" as word, :running_of_stopped as was, t.:"claimed_by" as holder,
    t.:"error_message" as error
),
failed as (
  select item, was as word, 'sweep' as cause, holder, error
  from moved
),
:log_failures
select (select count(*) from stale) as stale, moved.item, moved.word, moved.holder, moved.error
from (select) one
left join moved on true
