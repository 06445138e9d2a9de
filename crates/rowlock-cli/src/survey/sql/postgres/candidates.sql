-- candidates: the tables with a column that looks like a state by its name, or by the time at which something was done.
-- Cost: the catalogue.
-- Binds: $1 a regular expression for the columns' names   $2 the most tables
select
  n.nspname::text as schema,
  c.relname::text as name,
  n.nspname = any (current_schemas(false)) as is_in_search_path,
  c.reltuples::bigint as rows_estimate,
  array_agg(a.attname::text order by a.attnum) as columns
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p')
  and not c.relispartition
  and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname not like 'pg\_%'
  and a.attname::text ~* $1::text
  and c.relname::text not like 'rowlock\_%'
group by n.nspname, c.relname, c.reltuples
order by c.reltuples desc, n.nspname, c.relname
limit $2::bigint
