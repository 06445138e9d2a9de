-- relation: the kind of table, whether it has a rowid, and the statement that created it: the constraints are recorded
-- nowhere else. No row if there is no such table.
-- Binds: ?1 table
select sqlite_version() as server_version, l.type as kind, l.wr as is_without_rowid, s.sql as statement
from pragma_table_list as l
join sqlite_schema as s on s.name = l.name and s.type in ('table', 'view')
where l.schema = 'main'
  and l.name = ?1 collate nocase
