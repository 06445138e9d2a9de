-- foreign_keys: the foreign keys on a single column of the pipeline's table, each with the column that it references,
-- quoted, and whether this role may read the referenced table.
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
