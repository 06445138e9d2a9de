-- read_schema: what the database has: the table, its columns, constraints and keys, and Rowlock's own objects.

-- step: columns
-- Binds: ?1 table
select name, "notnull", pk, type, hidden, dflt_value
from pragma_table_xinfo(?1)

-- step: kind
-- Binds: ?1 table
select type, strict
from pragma_table_list
where schema = 'main'
  and name = ?1 collate nocase

-- step: create
-- The statement that created the table: its constraints are recorded nowhere else.
-- Binds: ?1 table
select sql
from sqlite_schema
where type = 'table'
  and name = ?1 collate nocase

-- step: has_rows
select exists (select 1 from :table)

-- step: strange_key
-- The types of keys that make no item. It is the exact opposite of what makes one, so it reads all keys: a second for a
-- few million.
-- Index: the key's, from start to end.
select group_concat(type, ' or ')
from (
  select distinct case typeof(t.:"key") when :strange_text else typeof(t.:"key") end as type
  from :table as t
  where :is_strange
)

-- step: unique_columns
-- The columns that alone make a row unique.
-- Binds: ?1 table
select min(c.name)
from pragma_index_list(?1) as l, pragma_index_info(l.name) as c
where l."unique"
  and not l.partial
group by l.name
having count(*) = 1
union all
-- An integer primary key has no index.
select min(c.name)
from pragma_table_xinfo(?1) as c
where c.pk > 0
having count(*) = 1

-- step: has_unique_key
-- Whether a unique index has none but these columns.
-- Binds: ?1 table  ?2 the key's columns, JSON
select exists (
  select 1
  from pragma_index_list(?1) as l
  where l."unique"
    and not l.partial
    and not exists (
      select 1
      from pragma_index_info(l.name) as c
      where c.name is null
         or lower(c.name) not in (select lower(value) from json_each(?2))
    )
)

-- step: foreign_keys
-- The foreign keys on a single column. One that names no column of the other table references its primary key.
-- Binds: ?1 table
select
  min(f."from"),
  f."table",
  coalesce(min(f."to"), (select min(c.name) from pragma_table_info(f."table") as c where c.pk > 0))
from pragma_foreign_key_list(?1) as f
group by f.id
having count(*) = 1

-- step: objects
-- Binds: ?1 table
select type, name
from sqlite_schema
where name in (?1, 'rowlock_failures', 'rowlock_stages', 'rowlock_meta')
   or (type = 'index' and tbl_name = ?1)

-- step: version
select value
from :rowlock_meta
where key = 'schema_version'
