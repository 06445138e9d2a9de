-- columns: the table's columns. A domain counts as the type beneath it, and an array of enum labels has their labels.
-- Cost: the catalogue.
-- Binds: $1 the table, quoted and qualified
with recursive beneath (number, type, modifier, is_last) as (
  select a.attnum, a.atttypid, a.atttypmod, t.typtype <> 'd'
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  where a.attrelid = to_regclass($1::text)
    and a.attnum > 0
    and not a.attisdropped
  union all
  select beneath.number, t.typbasetype, t.typtypmod, b.typtype <> 'd'
  from beneath
  join pg_type t on t.oid = beneath.type
  join pg_type b on b.oid = t.typbasetype
  where not beneath.is_last
)
select
  a.attname::text as name,
  format_type(a.atttypid, a.atttypmod) as type_name,
  format_type(beneath.type, null) as base_type,
  t.typtype = 'e' as is_enum,
  case
    when beneath.type in ('varchar'::regtype, 'bpchar'::regtype) and beneath.modifier > 4 then beneath.modifier - 4
  end as chars_max,
  not a.attnotnull as is_nullable,
  pg_get_expr(d.adbin, d.adrelid) as default_value,
  a.attgenerated <> '' as is_generated,
  a.attidentity <> '' as is_identity,
  array(
    select e.enumlabel::text
    from pg_enum e
    where e.enumtypid in (t.oid, t.typelem)
    order by e.enumsortorder
  ) as enum_labels,
  col_description(a.attrelid, a.attnum) as comment,
  has_column_privilege(a.attrelid, a.attnum, 'select') as is_readable
from pg_attribute a
join beneath on beneath.number = a.attnum and beneath.is_last
join pg_type t on t.oid = beneath.type
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = to_regclass($1::text)
order by a.attnum
