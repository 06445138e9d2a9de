-- key_facts: the collations of the key's columns. It reads the catalogue only.
select a.attname::text as name, c.collname::text as collation
from pg_attribute a
join pg_collation c on c.oid = a.attcollation
where a.attrelid = to_regclass({table_text})
  and a.attname = any (array[{key_texts}]::text[])
  and not c.collisdeterministic
