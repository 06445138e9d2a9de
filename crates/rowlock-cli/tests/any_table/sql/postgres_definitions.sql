-- Everything that the owner defined, a line for each: attaching may add lines, and must change none.
with relation as (
  select c.oid, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p')
    and n.nspname !~ '^pg_'
    and n.nspname <> 'information_schema'
)
select format(
  'relation %s %s row security %s %s %s', oid::regclass, relkind, relrowsecurity, relforcerowsecurity, reloptions
)
from relation
union all
select format(
  'column %s.%I %s %s null, default %s', r.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
  case when a.attnotnull then 'not' end, pg_get_expr(d.adbin, d.adrelid)
)
from relation r
join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
union all
select format('constraint %s on %s: %s', c.conname, r.oid::regclass, pg_get_constraintdef(c.oid))
from relation r
join pg_constraint c on c.conrelid = r.oid
union all
select format('index %s', pg_get_indexdef(i.indexrelid))
from relation r
join pg_index i on i.indrelid = r.oid
union all
select format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled)
from relation r
join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
union all
select format('policy %s on %s.%s: %s %s %s %s', policyname, schemaname, tablename, roles, cmd, qual, with_check)
from pg_policies
union all
select format('function %s %s', p.oid::regprocedure, p.prosrc)
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
order by 1
