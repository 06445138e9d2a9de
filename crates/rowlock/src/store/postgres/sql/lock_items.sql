-- lock_items: locks the rows with these keys, so that whatever is tried with them afterwards, in any order, waits for nobody.
--
-- Guarantee: locks them in the order of their keys, as everybody does. May wait.
-- Index:     the key's, one look-up an item: an array is neither hashed nor merged.
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
