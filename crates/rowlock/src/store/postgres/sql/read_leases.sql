-- read_leases: whether leases are still held; writes and locks nothing. Returns one row per lease whose row exists.
--
-- Index: the key's, one lookup per lease.
-- Binds: $1 keys   $2 tokens   $3 words in progress   $4 number of leases
select
  input.n,
  coalesce(t.:"claim_token" = input.token and t.:"status" = input.word, false) as held,
  coalesce(t.:"status" = :'cancelled', false) as cancelled
from rows from (
  unnest($1::text[]:::key_array), unnest($2::bigint[]), unnest($3::text[]), generate_series(1, $4::int)
) as input (key, token, word, n)
join :table t on t.:"key" = input.key
where t.:"key" = any (array(select unnest($1::text[]:::key_array)))
