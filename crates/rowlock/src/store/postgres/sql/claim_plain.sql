-- claim_plain: a claim of one stage's items all of which are to be taken: none is at a limit, none a suspect. That is nearly
-- every claim, and `claim` has parts for the others that cost the server more than the rest of a small one.
--
-- Guarantee: that of `claim`. If it meets another item it writes nothing and says so; `claim` follows.
-- Order, index: those of `claim`.
-- Binds:     $1 ready word   $2 to $7 as in pick   $8 token   $9 holder   $10 the queue is full   $11 from where on, or null
with
:snapshot,
picked as materialized (
  select array_agg(head.key) as keys, count(*) as n, coalesce(bool_or(head.is_special), false) as is_special
  from (
    select
      t.:"key" as key,
      coalesce(t.:"retry_count", 0) >= $4::int
        or coalesce(t.:"reset_count", 0) >= $5::int
        or coalesce(t.:"reset_count", 0) >= 1 and coalesce(t.:"reset_count", 0) = $5::int - 1 as is_special
      :ready_rows
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
  where t.:"key" = any ((select keys from picked where not is_special):::key_array)
    and coalesce(t.:"status", '') in (:ready_words)
  returning
    t.*,
    coalesce(t.:"retry_after", t.:"created_at", '-infinity') as rowlock_ready_since,
    t.:"key"::text as rowlock_key
)
select
  moved.*,
  picked.n as rowlock_picked,
  picked.n as rowlock_chosen,
  false as rowlock_suspect_at_head,
  not picked.is_special as rowlock_is_plain
from picked
left join moved on true
