-- claim: takes a batch of ready items for one worker, atomically.
--
-- One write transaction: `pick.sql` for each stage asked for, later stage first, with the rest of the limit; then
-- `take` for the items that were picked; then `read` of `claim_plain.sql`, by key, for the rows as they are now. SQLite
-- has one writer, so nothing changes between the steps.

-- step: take
-- Moves the items that were picked: to in progress under the token, or to FAILED if they are at a limit.
-- Guarantee: matches the ready word that was picked. The claim itself stamps the heartbeat.
-- Index:     the key's.
-- Binds:     ?1 items (key, word, move, error), JSON  ?2 now  ?3 token  ?4 holder
with i as materialized (:items)
update :table as t
set
  :"status" = iif(i.move = 'exhaust', :'failed', :running_of_ready),
  :"claim_token" = iif(i.move = 'exhaust', null, ?3),
  :"claimed_by" = iif(i.move = 'exhaust', t.:"claimed_by", ?4),
  :"claimed_at" = iif(i.move = 'exhaust', t.:"claimed_at", ?2),
  :"heartbeat_at" = iif(i.move = 'exhaust', t.:"heartbeat_at", ?2),
  :"error_message" = iif(i.move = 'exhaust', i.more ->> 'error', t.:"error_message"),
  :"resume_status" = iif(i.move = 'exhaust', t.:"status", t.:"resume_status"),
  :"retry_after" = iif(i.move = 'exhaust', null, t.:"retry_after"),
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"status" = i.word
:returning

-- step: let_go
-- Clears the token of rows that are not claimed after all, because a trigger changed their status. Their words stay.
-- Guarantee: matched by key and token.
-- Index:     the key's.
-- Binds:     ?1 keys, JSON  ?2 now  ?3 token
update :table as t
set
  :"claim_token" = null,
  :"updated_at" = ?2
where t.:"key" in (select value from json_each(?1))
  and t.:"claim_token" = ?3
