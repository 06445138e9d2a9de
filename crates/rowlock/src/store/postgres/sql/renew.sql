-- renew: one heartbeat for all the leases that a worker holds. Returns those that were renewed.
--
-- Guarantee: matched by key, token and word in progress: a late heartbeat never revives a lost lease. Never waits:
--            locked rows are skipped. Writes no column of Rowlock's indexes, so that the updates stay HOT.
-- Index:     the key's, one lookup per lease.
-- Binds:     $1 keys   $2 tokens   $3 now, or null   $4 words in progress   $5 number of leases
with
input as (
  select i.*
  from rows from (
    unnest($1::text[]:::key_array), unnest($2::bigint[]), unnest($4::text[]), generate_series(1, $5::int)
  ) as i (key, token, word, n)
),
held as materialized (
  select input.key, input.token, input.word, input.n
  from input
  cross join lateral (
    select
    from :table t
    where t.:"key" = input.key
      and t.:"claim_token" = input.token
      and t.:"status" = input.word
    for no key update skip locked
  ) locked
)
update :table t
set
  :"heartbeat_at" = coalesce($3::timestamptz, statement_timestamp()),
  :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
from held
where t.:"key" = any (array(select key from held))
  and t.:"key" = held.key
  and t.:"claim_token" = held.token
  and t.:"status" = held.word
returning held.n
