-- list: items by status, in the order of their keys. There are six forms, because SQLite uses an index only for
-- conditions that are in the statement: any word, the words in progress, or those of items that failed or were
-- cancelled; from the start or after a key. Ready and succeeded items are searched in the order of the keys, because
-- the queue's index has another order.

-- step: any
-- Index: the key's.
-- Binds: ?1 word, or null  ?2 limit
select t.*:and_role_values
from :table as t
where (?1 is null or t.:"status" = ?1)
  and :is_item
order by t.:"key"
limit ?2

-- step: any_after
-- Index: the key's.
-- Binds: ?1 word, or null  ?2 limit  ?3 last key of the page before
select t.*:and_role_values
from :table as t
where (?1 is null or t.:"status" = ?1)
  and t.:"key" > ?3
  and :is_item
order by t.:"key"
limit ?2

-- step: running
-- Index: the partial one over the words in progress; the result is sorted. The `+` keeps the planner from reading all
--        keys for their order.
-- Binds: ?1 word  ?2 limit
select t.*:and_role_values
from :table as t
where t.:"status" = ?1
  and t.:"status" in (:running_words)
  and :is_item
order by +t.:"key"
limit ?2

-- step: running_after
-- Index: as `running`.
-- Binds: ?1 word  ?2 limit  ?3 last key of the page before
select t.*:and_role_values
from :table as t
where t.:"status" = ?1
  and t.:"status" in (:running_words)
  and +t.:"key" > ?3
  and :is_item
order by +t.:"key"
limit ?2

-- step: stopped
-- Index: the partial one over the other words, on (status, key).
-- Binds: ?1 word  ?2 limit
select t.*:and_role_values
from :table as t
where t.:"status" = ?1
  and :is_stopped
  and :is_item
order by t.:"key"
limit ?2

-- step: stopped_after
-- Index: the partial one over the other words, on (status, key).
-- Binds: ?1 word  ?2 limit  ?3 last key of the page before
select t.*:and_role_values
from :table as t
where t.:"status" = ?1
  and :is_stopped
  and t.:"key" > ?3
  and :is_item
order by t.:"key"
limit ?2
