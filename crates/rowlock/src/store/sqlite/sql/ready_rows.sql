-- ready_rows: the head of one stage's queue. Shared by `pick.sql` and `claim_plain.sql`.
--
-- Guarantee: no more than the limit; only items that are due; nothing is sorted.
-- Index:     the partial one over the ready words, on (status, ready since). Its predicate is repeated; otherwise
--            SQLite would not use it.
-- Binds:     ?1 ready word  ?2 stage's name  ?3 now  ?4 limit  ?5 max_retries  ?6 max_resets
--            ?7 leave exhausted items out  ?8 keys to leave out, JSON
--            ?9 take text keys for UTF-8: a caller that reads them all anyway sees one that is not
from :table as t
where t.:"status" = ?1
  and t.:"status" in (:ready_words)
  and :ready_since <= ?3
  and :is_typed
  and (?9 or :is_unicode)
  and t.:"key" not in (select value from json_each(?8))
  and (not ?7 or (:retries < ?5 and :resets < ?6))
  and not exists (select 1 from :rowlock_stages s where s.pipeline = :'pipeline' and s.stage = ?2)
order by :ready_since
limit ?4
