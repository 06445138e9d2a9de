-- find_claimed: the items in progress under a token, after the answer to the claim was lost. It renews their leases as
-- it finds them, because the age of the claim is unknown.
--
-- Guarantee: one write transaction, which waits for a claim whose commit is still running.
-- Index:     the partial one over the words in progress, on the token.

-- step: renew
-- Binds: ?1 token  ?2 now
update :table as t
set
  :"heartbeat_at" = ?2,
  :"updated_at" = ?2
where t.:"claim_token" = ?1
  and t.:"status" in (:running_words)
  and :is_item

-- step: find
-- Binds: ?1 token
select t.*:and_role_values
from :table as t
where t.:"claim_token" = ?1
  and t.:"status" in (:running_words)
  and :is_item
order by :position_of_running, :ready_since
