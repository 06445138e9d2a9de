-- requeue: takes terminal items up again, with fresh budgets. Returns as set does.
--
-- Guarantee: goes to the named stage, else to where the item stopped, else to the first stage. May wait, and so locks
--            its rows in the order of their keys.
-- Index:     the key's.
-- Binds:     $1 keys   $2 the ready word of the named stage, or null   $3 now, or null   $4 unused, as in set
with
found as materialized (
  select t.:"key" as key, t.:"status" as word
  from :table t
  where t.:"key" = any (array(select unnest($1::text[]:::key_array)))
    and $4::text is null
  order by t.:"key"
  for no key update
),
moved as (
  update :table t
  set
    :"status" = coalesce(
      $2::text,
      case when t.:"status" <> :'succeeded' and t.:"resume_status" in (:ready_words) then t.:"resume_status" end,
      :'first_ready'
    ),
    :"claim_token" = null,
    :"retry_count" = 0,
    :"reset_count" = 0,
    :"retry_after" = null,
    :"resume_status" = null,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  where t.:"key" = any (array(select key from found))
    and t.:"status" in (:terminal_words)
  returning t.:"key"::text as key, t.:"status" as word
)
select key::text as key, word, false as moved from found
union all
select key, word, true as moved from moved
