-- sweep: takes items back from workers that stopped sending heartbeats.
--
-- Guarantee: every word in progress is looked at. A heartbeat that is missing or not a time is stale. So is one further
--            ahead than a holder may be silent: a wrong clock wrote it. One write transaction; all workers may run it
--            at once.
-- Index:     the partial one over the words in progress: the cost of the scan depends on the number of items in
--            progress, not on the size of the table.

-- step: find
-- Heartbeats that Rowlock wrote are compared as they are, because nearly all of them are younger: reading them in every
-- spelling takes seven times as long.
-- Binds: ?1 heartbeats before this are stale  ?2 limit  ?3 keys to leave out, JSON  ?4 heartbeats after this are stale
select
  t.:"key",
  t.:"status",
  t.:"claimed_by",
  :heartbeat
from :table as t
where t.:"status" in (:running_words)
  and not (t.:"heartbeat_at" between ?1 and ?4 and :heartbeat_is_own)
  \if :heartbeat_is_a_stamp
  and (:heartbeat is null or :heartbeat < ?1 or :heartbeat > ?4)
  \else
  -- A lease that is an expiry may have been taken for any time: it is never ahead.
  and (:heartbeat is null or :heartbeat < ?1 or ?4 is null)
  \endif
  and :is_item
  and t.:"key" not in (select value from json_each(?3))
limit ?2

-- step: take_back
-- Counts the reset, and decides by the count. The heartbeat must still be the one that was found stale: these items may
-- be repeated in another transaction.
-- Binds: ?1 items (key, word, heartbeat, error, spent_error), JSON  ?2 now  ?3 max_resets
with i as materialized (:items)
update :table as t
set
  :"status" = iif(:resets + 1 >= ?3, :'failed', :ready_of_running),
  :"reset_count" = :resets + 1,
  :"retry_after" = iif(:resets + 1 >= ?3, null, ?2),
  :"error_message" = iif(:resets + 1 >= ?3, i.more ->> 'spent_error', i.more ->> 'error'),
  :"resume_status" = iif(:resets + 1 >= ?3, :ready_of_running, t.:"resume_status"),
  :"claim_token" = null,
  :"updated_at" = ?2
from i
where t.:"key" = i.item
  and t.:"status" = i.word
  and :heartbeat is (i.more ->> 'heartbeat')
:returning
