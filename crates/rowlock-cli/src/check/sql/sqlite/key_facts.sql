-- key_facts: the collations under which the key's columns are unique. It reads the schema only.
select distinct x.name as name, x.coll as collation
from pragma_index_list({table_text}) as l, pragma_index_xinfo(l.name) as x
where l."unique"
  and x.key
  and x.coll <> 'BINARY'
  and x.name in ({key_texts})
