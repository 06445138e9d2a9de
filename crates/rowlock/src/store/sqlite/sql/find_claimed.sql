-- find_claimed: the items in progress under a token: what a claim took whose answer was lost.
--
-- Guarantee: run within a write transaction, which waits for a claim whose commit is still under way.
-- Index: the partial one over the words in progress, on the token.
-- Binds: ?1 token
select t.*
from :table as t
where t.:"claim_token" = ?1
  and t.:"status" in (:running_words)
order by :position_of_running
