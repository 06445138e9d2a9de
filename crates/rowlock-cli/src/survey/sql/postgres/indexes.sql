-- indexes: the indexes of the table, each with the columns or expressions that order it. `is_key` are those that keep
-- every row unique at each moment: neither partial, nor deferrable, nor over an expression.
-- Cost: the catalogue.
-- Binds: $1 the table, quoted and qualified
select
  c.relname::text as name,
  array(
    select coalesce(a.attname::text, pg_get_indexdef(i.indexrelid, place, true))
    from generate_series(1, i.indnkeyatts::integer) as place
    left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[place - 1] and a.attnum > 0
    order by place
  ) as columns,
  pg_get_expr(i.indpred, i.indrelid, true) as predicate,
  i.indisunique as is_unique,
  i.indisvalid as is_valid,
  i.indisprimary as is_primary,
  i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null as is_key,
  pg_get_indexdef(i.indexrelid) as definition
from pg_index i
join pg_class c on c.oid = i.indexrelid
where i.indrelid = to_regclass($1::text)
order by i.indisprimary desc, c.relname
