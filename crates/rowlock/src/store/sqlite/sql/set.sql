-- set: puts items into a ready or terminal state, without a lease; ends the lease.
--
-- Guarantee: matches the word that the caller read in the same transaction and found legal.
-- Binds: ?1 items (key, word, error), JSON  ?2 now  ?3 word to set
with i as materialized (:items)
update :table as t
set
  :"status" = ?3,
  :"retry_count" = iif(?3 in (:ready_words) and t.:"status" in (:terminal_words), 0, t.:"retry_count"),
  :"reset_count" = iif(?3 in (:ready_words) and t.:"status" in (:terminal_words), 0, t.:"reset_count"),
  :"retry_after" = null,
  :"error_message" = case
    when i.more ->> 'error' is not null then i.more ->> 'error'
    when ?3 = :'succeeded' then :error_after_success
    else t.:"error_message"
  end,
  :"resume_status" = iif(?3 in (:'failed', :'cancelled'), coalesce(:resume_of_any, t.:"resume_status"), null),
  :"claim_token" = null,
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"status" = i.word
:returning
