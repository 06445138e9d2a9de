-- checks: the check constraints on a single column of the pipeline's table, each with its expression.
--
-- Binds: $1 the table, quoted and qualified as in the statements
select c.conname::text as name, a.attname::text as column, pg_get_expr(c.conbin, c.conrelid) as expression
from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
where c.conrelid = to_regclass($1::text)
  and c.contype = 'c'
  and coalesce((to_jsonb(c) ->> 'conenforced')::bool, true) -- a column since PostgreSQL 18
order by c.conname
