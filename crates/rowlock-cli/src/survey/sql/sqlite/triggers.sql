-- triggers: the triggers of the table, with their statements.
-- Binds: ?1 table
select name, sql as statement
from sqlite_schema
where type = 'trigger'
  and tbl_name = ?1 collate nocase
order by name
