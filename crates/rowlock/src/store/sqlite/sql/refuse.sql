-- refuse: makes an item FAILED whose move the database refused.
--
-- Guarantee: matched by key and word, and by the token if there is a lease; for a sweep also by the heartbeat that was
--            found stale. A holder's token stays; any other is cleared.
-- Binds:     ?1 items (key, token, word, move, heartbeat, error), JSON  ?2 now
with i as materialized (:items)
update :table as t
set
  :"status" = :'failed',
  :"retry_after" = null,
  :"error_message" = i.more ->> 'error',
  :"resume_status" = :resume_of_any,
  :"claim_token" = i.token,
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"status" = i.word
  and (i.token is null or t.:"claim_token" = i.token)
  and (i.move is not 'sweep' or :heartbeat is (i.more ->> 'heartbeat'))
:returning
