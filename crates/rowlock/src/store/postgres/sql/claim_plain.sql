-- claim_plain: claims items of one stage if all of them can be taken: none is at a limit, and none is a suspect. Nearly
-- every claim is of this kind, and the parts of claim.sql for other items cost the server more than the rest of a small
-- claim.
--
-- Buys:      together with what claim_full.sql leaves out, the drain's server CPU an item went from 1.24 of raw's to
--            1.10.
-- Guarantee: that of `claim`. If it meets another item, it writes nothing and says so; `claim` follows.
-- Answer:    the claimed rows, or one row without an item. Each carries the number of picked items, null if one of them
--            is special.
-- Order:     none, as in `claim`.
-- Index:     that of `claim`.
-- Binds:     $1 ready word   $2 limit   $3 now, or null   $4 max_retries   $5 max_resets
--            $6 leave exhausted items out   $7 keys to leave out, or null   $8 token   $9 holder
with
picked as materialized (
  select array_agg(head.key) as keys, count(*) as n, coalesce(bool_or(head.is_special), false) as is_special
  from (
    select
      t.:"key" as key,
      coalesce(t.:"retry_count", 0) >= $4::int
        or coalesce(t.:"reset_count", 0) >= $5::int
        or coalesce(t.:"reset_count", 0) >= 1 and coalesce(t.:"reset_count", 0) = $5::int - 1 as is_special
    from :table t
    where t.:"status" = $1::text
      and :is_ready
      and not exists (
        select from :rowlock_stages s where s.pipeline = :'pipeline' and :ready_of_stage = $1::text
      )
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= coalesce($3::timestamptz, statement_timestamp())
      and (
        $7::text[] is null
        or t.:"key"::text <> all ($7::text[])
        and (
          getdatabaseencoding() <> 'SQL_ASCII'
          or concat('\x', encode(convert_to(t.:"key"::text, 'SQL_ASCII'), 'hex')) <> all ($7::text[])
        )
      )
      and (not $6::bool or (coalesce(t.:"retry_count", 0) < $4::int and coalesce(t.:"reset_count", 0) < $5::int))
    order by :queue_order
    limit $2::bigint
    for update of t skip locked
  ) as head
),
moved as (
  update :table t
  set
    :"status" = :running_of_ready,
    :"claim_token" = $8::bigint,
    :"claimed_by" = $9::text,
    :"claimed_at" = coalesce($3, statement_timestamp()),
    :"heartbeat_at" = coalesce($3, statement_timestamp()),
    :"updated_at" = coalesce($3, statement_timestamp())
  where t.:"key" = any (coalesce((select keys from picked where not is_special), '{}'))
    and coalesce(t.:"status", '') in (:ready_words)
  returning
    t.*,
    coalesce(t.:"retry_after", t.:"created_at", '-infinity') as rowlock_ready_since,
    t.:"key"::text as rowlock_key:and_role_values
)
select
  moved.*,
  case when not picked.is_special then picked.n end as rowlock_picked
from picked
left join moved on true
