-- checks: the CHECK constraints of the table, and those of its columns' domains, with the columns that they read.
-- Cost: the catalogue.
-- Binds: $1 the table, quoted and qualified
with recursive domains (number, type) as (
  select a.attnum, a.atttypid
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid and t.typtype = 'd'
  where a.attrelid = to_regclass($1::text)
    and a.attnum > 0
    and not a.attisdropped
  union all
  select domains.number, b.oid
  from domains
  join pg_type t on t.oid = domains.type
  join pg_type b on b.oid = t.typbasetype and b.typtype = 'd'
)
select
  c.conname::text as name,
  pg_get_constraintdef(c.oid) as definition,
  array(
    select a.attname::text
    from pg_attribute a
    where a.attrelid = c.conrelid and a.attnum = any (c.conkey)
    order by a.attnum
  ) as columns
from pg_constraint c
where c.conrelid = to_regclass($1::text)
  and c.contype = 'c'
  and coalesce((to_jsonb(c) ->> 'conenforced')::bool, true) -- a column since PostgreSQL 18
union all
select c.conname::text, pg_get_constraintdef(c.oid), array[a.attname::text]
from domains
join pg_constraint c on c.contypid = domains.type and c.contype = 'c'
join pg_attribute a on a.attrelid = to_regclass($1::text) and a.attnum = domains.number
order by name
