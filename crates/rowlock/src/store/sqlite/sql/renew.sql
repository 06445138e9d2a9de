-- renew: one heartbeat for all the leases that a worker holds.
--
-- Guarantee: matched by key, token and word in progress: a late heartbeat never revives a lost lease.
-- Index:     the key's, one lookup per lease. No index contains the columns that it writes.
-- Binds:     ?1 leases (key, token, word), JSON  ?2 now
with i as materialized (:items)
update :table as t
set
  :"heartbeat_at" = ?2,
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"claim_token" = i.token
  and t.:"status" = i.word
:returning
