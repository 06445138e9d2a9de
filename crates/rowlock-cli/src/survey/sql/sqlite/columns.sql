-- columns: the table's columns with their place in the primary key.
-- Binds: ?1 table
select name, type as type_name, "notnull" as not_null, dflt_value as default_value, pk, hidden
from pragma_table_xinfo(?1)
where hidden <> 1
order by cid
