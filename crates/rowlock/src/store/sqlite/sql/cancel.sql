-- cancel: stops items that are not terminal, and ends their leases.
--
-- Guarantee: matches the word that the caller read in the same transaction and found legal.
-- Binds:     ?1 items (key, word), JSON  ?2 now
with i as materialized (:items)
update :table as t
set
  :"status" = :'cancelled',
  :"retry_after" = null,
  :"resume_status" = :resume_of_any,
  :"claim_token" = null,
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"status" = i.word
:returning
