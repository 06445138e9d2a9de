-- status_checks: the check constraints of the pipeline's table on its status alone, each with its expression.
--
-- Binds: $1 the table, quoted and qualified as in the statements   $2 the status column
select c.conname::text as name, pg_get_expr(c.conbin, c.conrelid) as expression
from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and a.attname = $2::text
where c.conrelid = to_regclass($1::text)
  and c.contype = 'c'
  and c.conkey = array[a.attnum]
order by c.conname
