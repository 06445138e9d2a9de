-- set: puts items into a ready or a terminal state, without a lease. Returns each item that was found with its word
-- before, then each that was moved with its word after.
--
-- Guarantee: ends the lease (the token is cleared); a word that the pipeline does not know is left alone. May wait,
--            and so locks its rows in the order of their keys.
-- Index:     the key's.
-- Binds:     $1 keys   $2 the word to set   $3 now, or null   $4 error, or null to keep the stored one
with
found as materialized (
  select t.:"key" as key, t.:"status" as word
  from :table t
  where t.:"key" = any (array(select unnest($1::text[]:::key_array)))
  order by t.:"key"
  for no key update
),
moved as (
  update :table t
  set
    :"status" = $2::text,
    :"claim_token" = null,
    :"retry_after" = null,
    :"retry_count" = case when t.:"status" in (:terminal_words) and $2::text in (:ready_words) then 0 else t.:"retry_count" end,
    :"reset_count" = case when t.:"status" in (:terminal_words) and $2::text in (:ready_words) then 0 else t.:"reset_count" end,
    :"error_message" = coalesce($4::text, t.:"error_message"),
    :"resume_status" = case when $2::text in (:'failed', :'cancelled') then coalesce(:resume_of_any, t.:"resume_status") end,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  where t.:"key" = any (array(select key from found))
    and t.:"status" in (:known_words)
  returning t.:"key"::text as key, t.:"status" as word
)
select key::text as key, word, false as moved from found
union all
select key, word, true as moved from moved
