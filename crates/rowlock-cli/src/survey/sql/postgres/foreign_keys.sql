-- foreign_keys: the foreign keys of the table.
-- Cost: the catalogue.
-- Binds: $1 the table, quoted and qualified
select
  c.conname::text as name,
  array(
    select a.attname::text
    from unnest(c.conkey) with ordinality as k (number, place)
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number
    order by k.place
  ) as columns,
  c.confrelid::regclass::text as parent,
  array(
    select a.attname::text
    from unnest(c.confkey) with ordinality as k (number, place)
    join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number
    order by k.place
  ) as parent_columns
from pg_constraint c
where c.conrelid = to_regclass($1::text)
  and c.contype = 'f'
  and coalesce((to_jsonb(c) ->> 'conenforced')::bool, true) -- a column since PostgreSQL 18
order by c.conname
