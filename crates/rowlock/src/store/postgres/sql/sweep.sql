-- sweep: takes items back from workers that stopped sending heartbeats.
--
-- Forms:     `sweep`. `sweep_part` (`by_place`), for parts of a batch that failed as a whole: for the rows that
--            pick_stale.sql has locked and named by their places. It is planned for each part. One text for both
--            would have both conditions behind an `or`, which no index serves.
--            From `step: stale` to `step: take` this is also `:stale` of pick_stale.sql.
-- Guarantee: this one statement counts the reset, makes the item FAILED at the limit, and clears the token. All workers
--            may run it at once. Every word in progress is looked at. A missing heartbeat is stale; a locked row is
--            busy and left alone. A heartbeat further ahead than a holder may be silent is stale too: a wrong clock
--            wrote it, and it would keep the item until that time comes. The given time may be older than the
--            statement, by a suspend between the two: what was renewed in the meantime is not ahead. A lease that is an
--            expiry may have been taken for any time by its owner's programs, so that it is never ahead.
-- Index:     the partial one over the words in progress: the cost of the scan depends on the number of items in
--            progress, not on the size of the table. Then the key's. The words are compared through coalesce; otherwise
--            the planner could use the running index again.
-- Binds:     $1 limit   $2 seconds after which a heartbeat is stale   $3 now, or null   $4 max_resets
--            $5 keys to leave out, or null   $6 in `sweep_part` only these places, else null
with
-- step: stale
stale as materialized (
  select t.:"key" as key
  from :table t
  where
    \if :by_place
    -- A bad row may break every other way to find it: see claim.sql.
    coalesce(t.:"status", '') in (:running_words)
    and t.ctid = any (array(select split_part(place, ' ', 2)::tid from unnest($6::text[]) as given (place)))
    and concat(t.tableoid, ' ', t.ctid) = any ($6::text[])
    \else
    t.:"status" in (:running_words) and $6::text[] is null
    \endif
    and t.:"key" is not null
    and (
      t.:"heartbeat_at" is null
      or t.:"heartbeat_at" < coalesce($3::timestamptz, statement_timestamp()) - make_interval(secs => $2::float8)
      \if :heartbeat_is_a_stamp
      or t.:"heartbeat_at" > greatest($3::timestamptz, statement_timestamp()) + make_interval(secs => $2::float8)
      \endif
    )
    -- The keys are compared as text, as in claim.sql, and only if there are any.
    and (
      $5::text[] is null
      or t.:"key"::text <> all ($5::text[])
      and (
        getdatabaseencoding() <> 'SQL_ASCII'
        or concat('\x', encode(convert_to(t.:"key"::text, 'SQL_ASCII'), 'hex')) <> all ($5::text[])
      )
    )
  limit $1::bigint
  for no key update skip locked
)
-- step: take
, moved as (
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
