-- read_schema: what the server's catalogue says of the pipeline's table. Each step costs what it costs to read the
-- catalogue. A table that is a bind is quoted and qualified as in the statements.

-- step: columns
-- The columns, with their types; no row if the table does not exist.
-- Binds: $1 the table
select
  a.attname::text as name,
  -- A domain is what it is over.
  format_type((
    with recursive bare (type, base) as (
      select t.oid, t.typbasetype from pg_type t where t.oid = a.atttypid
      union all
      select t.oid, t.typbasetype from bare join pg_type t on t.oid = bare.base
    )
    select bare.type from bare where bare.base = 0
  ), null) as type,
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

-- step: columns_now
-- A fingerprint of the columns that differs after each change of them. A statement that was prepared before such a
-- change may be outdated ("cached plan must not change result type"). Sent unprepared, together with the other
-- statements that begin a user's transaction.
-- Index: pg_attribute's own, by its relation.
-- Binds: none
select (count(*) || ' ' || coalesce(sum(a.xmin::text::bigint), 0))::text as columns_now
from pg_attribute as a
where a.attrelid = to_regclass(:table_name)

-- step: unreadable_columns
-- Columns of a type whose values the driver cannot read: multiranges, which it does not know, and types that the server
-- does not send in binary form; also within arrays, domains, ranges and composite types.
-- Binds: $1 the table
with recursive held (name, number, type) as (
  select a.attname::text, a.attnum, a.atttypid
  from pg_attribute a
  where a.attrelid = to_regclass($1::text) and a.attnum > 0 and not a.attisdropped
  union
  select held.name, held.number, part.type
  from held
  join pg_type t on t.oid = held.type
  cross join lateral (
    select t.typbasetype where t.typtype = 'd'
    union all
    select t.typelem where t.typcategory = 'A' and t.typelem <> 0
    union all
    select r.rngsubtype from pg_range r where r.rngtypid = t.oid
    union all
    select f.atttypid
    from pg_attribute f
    where t.typtype = 'c' and f.attrelid = t.typrelid and f.attnum > 0 and not f.attisdropped
  ) part (type)
)
select held.name, format_type(t.oid, null) as type
from held
join pg_type t on t.oid = held.type
where t.typtype = 'm' or t.typsend = 0
order by held.number

-- step: has_unique_key
-- Whether a unique index has none but these columns. A table that does not exist has one.
-- Binds: $1 the table   $2 the key's columns
select to_regclass($1::text) is null or exists (
  select
  from pg_index i
  where i.indrelid = to_regclass($1::text) and i.indisunique and i.indimmediate and i.indisvalid
    and i.indpred is null and i.indexprs is null
    and not exists (
      select
      from generate_series(0, i.indnkeyatts - 1) as place (n)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[place.n]
      where a.attname::text <> all ($2::text[])
    )
) as found

-- step: checks
-- The check constraints on a single column, each with its expression and with the name by which that calls the value.
-- Those of a domain call it VALUE.
-- Binds: $1 the table
select
  c.conname::text as name, a.attname::text as column, pg_get_expr(c.conbin, c.conrelid) as expression,
  a.attname::text as operand
from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
where c.conrelid = to_regclass($1::text)
  and c.contype = 'c'
  and coalesce((to_jsonb(c) ->> 'conenforced')::bool, true) -- a column since PostgreSQL 18
union all
select c.conname::text, a.attname::text, pg_get_expr(c.conbin, 0), 'value'
from pg_attribute a
cross join lateral (
  with recursive layer (type, base) as (
    select t.oid, t.typbasetype from pg_type t where t.oid = a.atttypid
    union all
    select t.oid, t.typbasetype from layer join pg_type t on t.oid = layer.base
  )
  select layer.type from layer
) layer
join pg_constraint c on c.contypid = layer.type and c.contype = 'c'
where a.attrelid = to_regclass($1::text)
  and a.attnum > 0
  and not a.attisdropped
order by name

-- step: foreign_keys
-- The foreign keys on a single column, each with the column that it references, quoted, and whether this role may read
-- the referenced table.
-- Binds: $1 the table
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

-- step: relation
-- The properties other than the columns; no row if the table does not exist. `parts` are the tables that hold the rows:
-- the table itself, or its partitions.
-- Binds: $1 the table   $2 the status column
with parts as materialized (
  select c.oid, c.relkind, c.relreplident, c.relnamespace, c.relname
  from pg_class c
  where c.oid = to_regclass($1::text)
     or c.oid in (select relid from pg_partition_tree(to_regclass($1::text)))
),
updates_published as materialized (
  select p.pubname
  from pg_publication p
  join pg_publication_tables t on t.pubname = p.pubname
  join parts on parts.relname = t.tablename
  join pg_namespace n on n.oid = parts.relnamespace and n.nspname = t.schemaname
  where p.pubupdate
)
select
  c.relkind::text as kind,
  (
    select min(i.inhrelid::regclass::text)
    from pg_inherits i
    join pg_class child on child.oid = i.inhrelid
    where i.inhparent = c.oid and not child.relispartition
  ) as child,
  exists (
    select
    from parts
    join pg_partitioned_table p on p.partrelid = parts.oid
    join pg_attribute a on a.attrelid = parts.oid and a.attnum = any (p.partattrs)
    where a.attname = $2::text
  ) as is_partitioned_by_status,
  (select min(oid::regclass::text) from parts where relkind = 'f') as foreign_part,
  case when c.relkind in ('r', 'p') then row_security_active(c.oid) else false end as has_row_security,
  c.reltuples::bigint as rows_about,
  (select min(pubname)::text from updates_published) as publication,
  (
    select min(parts.oid::regclass::text)
    from parts
    where parts.relkind = 'r'
      and exists (select from updates_published)
      and case parts.relreplident
        when 'f' then false
        when 'd' then not exists (select from pg_index i where i.indrelid = parts.oid and i.indisprimary)
        when 'i' then not exists (
          select from pg_index i where i.indrelid = parts.oid and i.indisreplident and i.indisvalid
        )
        else true
      end
  ) as part_without_identity
from pg_class c
where c.oid = to_regclass($1::text)

-- step: rights
-- The rights that this role lacks to run a worker or to add items, each as the statement that grants it.
-- Binds: $1 the table   $2 the columns of the roles   $3 Rowlock's own tables, quoted and qualified like the first
--        $4 the key's column
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

-- step: inserts_notify
-- Whether the table has the trigger that notifies of inserts, and the trigger is enabled.
-- Binds: $1 the table   $2 the trigger's name
select exists (
  select
  from pg_trigger
  where tgrelid = to_regclass($1::text)
    and tgname = $2::text
    and tgenabled in ('O', 'A')
) as inserts_notify
