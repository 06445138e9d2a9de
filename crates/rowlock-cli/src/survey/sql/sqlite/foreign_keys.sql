-- foreign_keys: the foreign keys of the table, a row for each of their columns.
-- Binds: ?1 table
select id, "table" as parent, "from" as column_name, "to" as parent_column
from pragma_foreign_key_list(?1)
order by id, seq
