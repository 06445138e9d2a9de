-- continue_items: moves items whose stage is done on to the next stage, under a new lease: the work of `complete` and
-- `claim` in one statement, with half as many row versions.
--
-- Guarantee: every row is matched by key, token and its stage's word in progress. A row that does not match is not
--            written, nor is one that a claim of the next stage would not take as an ordinary item (`:may_continue`).
-- Locks:     the rows, with `skip locked` (`:leases` is lock_leases.sql).
-- Index:     the key's, one lookup per item. generate_series makes a generic plan expect a thousand items, as in
--            finish. The word is expanded into a list; otherwise a plan for these values would use the index on the
--            token.
-- Binds:     $1 keys   $2 tokens   $3 now, or null   $4 word in progress   $5 the next word in progress   $6 new token
--            $7 holder   $8 max_retries   $9 max_resets   $10 the next stage's name   $11 number of items
with
input as (
  select i.*
  from rows from (
    unnest($1::text[]:::key_array), unnest($2::bigint[]), unnest(array_fill($4::text, array[$11::int])),
    generate_series(1, $11::int)
  ) as i (key, token, word, n)
),
leases as materialized (
  :leases
)
update :table t
set
  :continued
from leases i
where :rows_to_write
  and t.:"claim_token" = i.token
  and t.:"status" = i.word
  and :may_continue
returning t.*, t.:"key"::text as rowlock_key
