-- set: puts items into a ready or a terminal state, without a lease. Returns each item that was found with its word
-- before, then each that was moved with its word after. The rows name items by their positions in the input: the table
-- may take two different texts for one key.
--
-- Guarantee: ends the lease (clears the token); an item with a word that the pipeline does not know is left alone. May
--            wait for row locks, so it locks its rows in the order of their keys. The caller passes no two keys of one
--            row.
-- Index:     the key's, one lookup per item: an array can be neither hashed nor merged.
-- Binds:     $1 keys   $2 the word to set   $3 now, or null   $4 error, or null to keep the stored one
--            $5 number of keys
with
input as (
  select i.key, i.n
  from rows from (unnest($1::text[]:::key_array), generate_series(1, $5::int)) as i (key, n)
),
found as materialized (
  select t.:"key" as key, t.:"status" as word, input.n
  from input
  join :table t on t.:"key" = any (array[input.key])
  order by t.:"key"
  for no key update of t
),
moved as (
  update :table t
  set
    :"status" = $2::text,
    :"claim_token" = null,
    :"retry_after" = null,
    :"retry_count" = case
      when t.:"status" in (:terminal_words) and $2::text in (:ready_words) then 0
      else t.:"retry_count"
    end,
    :"reset_count" = case
      when t.:"status" in (:terminal_words) and $2::text in (:ready_words) then 0
      else t.:"reset_count"
    end,
    :"error_message" = case
      when $4::text is not null then left($4::text, :error_chars_max)
      when $2::text = :'succeeded' then :error_after_success
      else t.:"error_message"
    end,
    :"resume_status" = case
      when $2::text in (:'failed', :'cancelled') then coalesce(:resume_of_any, t.:"resume_status")
    end,
    :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
  from found
  where t.:"key" = any (array[found.key])
    and t.:"status" in (:known_words)
  returning found.n, t.:"status" as word
)
select n, word, false as moved from found
union all
select n, word, true as moved from moved
