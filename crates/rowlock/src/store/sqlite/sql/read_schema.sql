-- read_schema: what exists.

-- step: columns
-- Binds: ?1 table
select name, "notnull", pk
from pragma_table_xinfo(?1)

-- step: unique_columns
-- The columns that alone make a row unique.
-- Binds: ?1 table
select min(c.name)
from pragma_index_list(?1) as l, pragma_index_info(l.name) as c
where l."unique"
  and not l.partial
group by l.name
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
