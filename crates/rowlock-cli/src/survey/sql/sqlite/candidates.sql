-- candidates: the columns of every table.
-- Binds: ?1 the most columns
select s.name as name, c.name as column_name
from sqlite_schema as s
join pragma_table_xinfo(s.name) as c
where s.type = 'table'
  and s.name not like 'sqlite\_%' escape '\'
  and s.name not like 'rowlock\_%' escape '\'
  and c.hidden <> 1
order by s.name, c.cid
limit ?1
