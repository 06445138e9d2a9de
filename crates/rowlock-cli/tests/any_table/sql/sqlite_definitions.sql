-- Everything that the owner defined, a line for each: attaching may add lines, and must change none. The text of a
-- table is left out: SQLite writes added columns into it. Its columns are there instead.
select printf('%s %s: %s', type, name, sql)
from sqlite_schema
where type <> 'table'
union all
select printf(
  'column %s.%s %s, not null %d, default %s, key %d, hidden %d', t.name, c.name, c.type, c."notnull",
  coalesce(c.dflt_value, 'none'), c.pk, c.hidden
)
from sqlite_schema t
join pragma_table_xinfo(t.name) c
where t.type = 'table'
  and t.name not like 'sqlite\_%' escape '\'
order by 1
