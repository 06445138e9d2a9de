-- unreadable_columns: columns of a type whose values the driver cannot read: multiranges, which it does not know, and
-- types that the server does not send in binary form; also within arrays, domains, ranges and composite types.
--
-- Cost:  that of reading the catalogue.
-- Binds: $1 the table, quoted and qualified as in the statements
with recursive held (name, number, type) as (
  select a.attname::text, a.attnum, a.atttypid
  from pg_attribute a
  where a.attrelid = to_regclass($1::text) and a.attnum > 0 and not a.attisdropped
  union
  select held.name, held.number, part.type
  from held
  join pg_type t on t.oid = held.type
  cross join lateral (
    select t.typbasetype where t.typtype = 'd'
    union all
    select t.typelem where t.typcategory = 'A' and t.typelem <> 0
    union all
    select r.rngsubtype from pg_range r where r.rngtypid = t.oid
    union all
    select f.atttypid
    from pg_attribute f
    where t.typtype = 'c' and f.attrelid = t.typrelid and f.attnum > 0 and not f.attisdropped
  ) part (type)
)
select held.name, format_type(t.oid, null) as type
from held
join pg_type t on t.oid = held.type
where t.typtype = 'm' or t.typsend = 0
order by held.number
