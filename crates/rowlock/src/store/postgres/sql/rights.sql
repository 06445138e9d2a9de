-- rights: the rights that this role lacks to run a worker or to add items, each as the statement that grants it.
--
-- Binds: $1 the table   $2 the columns of the roles   $3 Rowlock's own tables
--        $4 the key's column; the tables are quoted and qualified as in the statements
select 'a worker' as needed_by, format('grant select on %s to %I', $1::text, current_user) as statement
where not has_table_privilege(to_regclass($1::text), 'select')
  and exists (
    select
    from pg_attribute a
    where a.attrelid = to_regclass($1::text)
      and a.attnum > 0
      and not a.attisdropped
      and not has_column_privilege(a.attrelid, a.attnum, 'select')
  )
union all
select 'a worker', format('grant update on %s to %I', $1::text, current_user)
where not has_table_privilege(to_regclass($1::text), 'update')
  and exists (
    select
    from pg_attribute a
    where a.attrelid = to_regclass($1::text)
      and a.attname = any ($2::text[])
      and not has_column_privilege(a.attrelid, a.attnum, 'update')
  )
union all
select 'add_many', format('grant insert on %s to %I', $1::text, current_user)
where not has_table_privilege(to_regclass($1::text), 'insert')
  and not coalesce((
    select has_column_privilege(a.attrelid, a.attnum, 'insert')
    from pg_attribute a
    where a.attrelid = to_regclass($1::text) and a.attname = $4::text
  ), true)
union all
select 'a worker', format('grant %s on %s to %I', privilege, own, current_user)
from unnest($3::text[]) as own
cross join unnest(array['select', 'insert', 'update', 'delete']) as privilege
where to_regclass(own) is not null
  and not has_table_privilege(to_regclass(own), privilege)
