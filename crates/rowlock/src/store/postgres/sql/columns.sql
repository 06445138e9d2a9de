-- columns: the columns of the pipeline's table, with their types; no row if the table does not exist.
--
-- Binds: $1 the table, quoted and qualified as in the statements
select
  a.attname::text as name,
  format_type(a.atttypid, null) as type,
  a.attnotnull as not_null,
  a.attgenerated <> '' or a.attidentity = 'a' as is_generated,
  pg_get_expr(d.adbin, d.adrelid) as default_value,
  case
    when a.atttypid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod > 4 then a.atttypmod - 4
  end as chars_max,
  exists (
    select
    from pg_index i
    where i.indrelid = a.attrelid and i.indisunique and i.indimmediate and i.indisvalid
      and i.indpred is null and i.indexprs is null
      and i.indnkeyatts = 1 and i.indkey[0] = a.attnum
  ) as is_unique,
  exists (select from pg_collation c where c.oid = a.attcollation and not c.collisdeterministic) as blurs_texts
from pg_attribute a
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = to_regclass($1::text)
  and a.attnum > 0
  and not a.attisdropped
