-- requeue: makes terminal items ready again, with fresh budgets. Returns rows as `set` does.
--
-- Guarantee: the item goes to the named stage, else to the stage where it stopped, else to the first stage. May wait
--            for row locks, so it locks its rows in the order of their keys.
-- Index:     the key's, one lookup per item: an array can be neither hashed nor merged.
-- Binds:     $1 keys   $2 the ready word of the named stage, or null   $3 now, or null
--            $4 null, so that the binds are those of `set`   $5 number of keys
with
input as (
  select i.key, i.n
  from rows from (unnest($1::text[]:::key_array), generate_series(1, $5::int)) as i (key, n)
),
found as materialized (
  select t.:"key" as key, t.:"status" as word, input.n
  from input
  join :table t on t.:"key" = any (array[input.key])
  where $4::text is null
  order by t.:"key"
  for no key update of t
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
  from found
  where t.:"key" = any (array[found.key])
    and t.:"status" in (:terminal_words)
  returning found.n, t.:"status" as word
)
select n, word, false as moved from found
union all
select n, word, true as moved from moved
