-- claim: takes a batch of ready items for one worker, atomically.
--
-- One write transaction: `pick` for each stage asked for, later stage first, with the rest of the limit; then `take`
-- for the items that were picked; then `read` for the rows as they are now. SQLite has one writer, so nothing changes
-- between the steps. claim_plain.sql is faster where all items can be taken; where it meets another, this follows.

-- step: pick
-- The head of one stage's queue, in order, one row per item. A preview begins with it, too.
-- Guarantee: no more than the limit; only items that are due; nothing is sorted.
-- Index:     the partial one over the ready words, on (status, ready since). Its predicate is repeated; otherwise
--            SQLite would not use it.
-- Binds:     ?1 ready word  ?2 stage's name  ?3 now  ?4 limit  ?5 max_retries  ?6 max_resets
--            ?7 leave exhausted items out  ?8 keys to leave out, JSON
--            ?9 take text keys for UTF-8: a caller that reads them all anyway sees one that is not
select
  t.:"key",
  t.:"status",
  t.:"retry_count",
  t.:"reset_count",
  t.:"error_message"
from :table as t
where t.:"status" = ?1
  and :is_ready
  and :ready_since <= ?3
  and :is_typed
  and (?9 or :is_unicode)
  and t.:"key" not in (select value from json_each(?8))
  and (not ?7 or (:retries < ?5 and :resets < ?6))
  and not exists (select 1 from :rowlock_stages s where s.pipeline = :'pipeline' and s.stage = ?2)
order by :queue_order
limit ?4

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

-- step: read
-- The whole rows as they are now. Not `returning`: a trigger may change a row after the update.
-- Index: the key's.
-- Binds: ?1 keys, JSON
select t.*:and_role_values
from json_each(?1) as i
cross join :table as t on t.:"key" = i.value

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
