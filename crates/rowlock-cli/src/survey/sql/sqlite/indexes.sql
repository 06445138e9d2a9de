-- indexes: the indexes of the table, a row for each of their columns; an expression has no name.
-- Binds: ?1 table
select l.name as name, l."unique" as is_unique, l.partial as is_partial, s.sql as statement, c.name as column_name
from pragma_index_list(?1) as l
join pragma_index_info(l.name) as c
left join sqlite_schema as s on s.type = 'index' and s.name = l.name
order by l.seq, c.seqno
