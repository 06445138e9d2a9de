-- list: items by status, in the order of their keys. Four forms, because an index is used only for conditions that
-- are in the statement: all words or those that failed or were cancelled, from the start or after a key.

-- step: any
-- Index: the key's.
-- Binds: ?1 word, or null  ?2 limit
select t.*
from :table as t
where (?1 is null or t.:"status" = ?1)
  and :is_item
order by t.:"key"
limit ?2

-- step: any_after
-- Index: the key's.
-- Binds: ?1 word, or null  ?2 limit  ?3 last key of the page before
select t.*
from :table as t
where (?1 is null or t.:"status" = ?1)
  and t.:"key" > ?3
  and :is_item
order by t.:"key"
limit ?2

-- step: stopped
-- Index: the partial one over the other words, on (status, key).
-- Binds: ?1 word  ?2 limit
select t.*
from :table as t
where t.:"status" = ?1
  and :is_stopped
  and :is_item
order by t.:"key"
limit ?2

-- step: stopped_after
-- Index: the partial one over the other words, on (status, key).
-- Binds: ?1 word  ?2 limit  ?3 last key of the page before
select t.*
from :table as t
where t.:"status" = ?1
  and :is_stopped
  and t.:"key" > ?3
  and :is_item
order by t.:"key"
limit ?2
