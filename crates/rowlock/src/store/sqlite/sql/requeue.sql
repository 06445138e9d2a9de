-- requeue: makes terminal items ready again, at a named stage or at the one where each stopped.
--
-- Guarantee: matches the word that the caller read in the same transaction and found legal.
-- Binds:     ?1 items (key, word), JSON  ?2 now  ?3 ready word of the stage, or null
with i as materialized (:items)
update :table as t
set
  :"status" = case
    when ?3 is not null then ?3
    when t.:"status" <> :'succeeded' and t.:"resume_status" in (:ready_words) then t.:"resume_status"
    else :'first_ready'
  end,
  :"retry_count" = 0,
  :"reset_count" = 0,
  :"retry_after" = null,
  :"resume_status" = null,
  :"claim_token" = null,
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"status" = i.word
:returning
