-- read_schema: what exists.

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
-- The statement that made the table: its constraints stand nowhere else.
-- Binds: ?1 table
select sql
from sqlite_schema
where type = 'table'
  and name = ?1 collate nocase

-- step: has_rows
select exists (select 1 from :table)

-- step: strange_key
-- The type of a key that is none of the pipeline's type. SQLite sorts null before numbers, those before text, and blobs
-- last, so that two looks into the key's index find one. (A fraction among integers is not found.)
-- Index: the key's.
select typeof(t.:"key")
from :table as t
where :is_strange
limit 1

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
