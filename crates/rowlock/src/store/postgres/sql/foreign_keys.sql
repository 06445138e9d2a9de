-- foreign_keys: the foreign keys of the pipeline's table that are on a single column, each with the column that it refers to,
-- quoted, and whether this role may read that.
--
-- Binds: $1 the table, quoted and qualified as in the statements
select
  a.attname::text as column,
  c.confrelid::regclass::text as parent,
  quote_ident(p.attname) as parent_column,
  has_table_privilege(c.confrelid, 'select') as is_readable
from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
join pg_attribute p on p.attrelid = c.confrelid and c.confkey = array[p.attnum]
where c.conrelid = to_regclass($1::text)
  and c.contype = 'f'
  and coalesce((to_jsonb(c) ->> 'conenforced')::bool, true) -- a column since PostgreSQL 18
order by c.conname
