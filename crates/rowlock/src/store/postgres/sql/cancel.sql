-- cancel: stops items that are not terminal. Returns as set does.
--
-- Guarantee: ends the lease (the token is cleared), and remembers where a requeue would go on. May wait, and so locks
--            its rows in the order of their keys.
-- Index:     the key's.
-- Binds:     $1 keys   $2 and $4 unused, as in set   $3 now, or null
with
found as materialized (
  select t.:"key" as key, t.:"status" as word
  from :table t
  where t.:"key" = any (array(select unnest($1::text[]:::key_array)))
    and $2::text is null
    and $4::text is null
  order by t.:"key"
  for no key update
),
moved as (
  update :table t
  set
    :"status" = :'cancelled',
    :"claim_token" = null,
    :"retry_after" = null,
    :"resume_status" = :resume_of_any,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  where t.:"key" = any (array(select key from found))
    and t.:"status" in (:ready_words, :running_words)
  returning t.:"key"::text as key, t.:"status" as word
)
select key::text as key, word, false as moved from found
union all
select key, word, true as moved from moved
