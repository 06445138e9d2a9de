-- lock_items: locks the rows with these keys, so that later attempts with them, in any order, wait for no other
-- transaction.
--
-- Guarantee: locks the rows in the order of their keys, as every verb does that may wait. May wait.
-- Index:     the key's, one lookup per item: an array can be neither hashed nor merged.
-- Binds:     $1 keys
with
input as (
  select i.key
  from unnest($1::text[]:::key_array) as i (key)
),
found as materialized (
  select t.:"key" as key
  from input
  join :table t on t.:"key" = any (array[input.key])
  order by t.:"key"
  for no key update of t
)
select count(*) from found
