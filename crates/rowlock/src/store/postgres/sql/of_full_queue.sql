-- of_full_queue: what a claim leaves out as long as the queue is full. A part of the claims.
--
-- What lies before the place where the last claim ended: of what was claimed from there a dead entry stays in the index, until
-- a vacuum may remove it, and each claim would walk past all of them.
--
-- And what somebody has locked or changed since this statement began, or was at when it began. `skip locked` passes over a
-- row only as long as the other transaction lasts. A row that another claim took while this one was on its way is locked
-- where that claim has put it, found to be ready no more, and stays locked to the end of this one: until then its
-- holder cannot finish it. With eight claimers at one queue that was half of all rows. So they are left out before they
-- are locked. xmax names who locked or replaced a row last. That one is over, unless it began after this statement or was
-- running when this one began; a lock that ended meanwhile is taken for one that lasts. Savepoints are left to `skip locked`:
-- the snapshot does not list them. So are locks of several at once, whose number is no transaction's: one more than
-- 10,000 ahead surely is such a number, for so many do not begin during a claim; one that is nearer hides its row until the
-- transactions have passed it, or the queue is full no more.
-- Binds: :queue_is_full   :from, ready since then, or null
        and coalesce(t.:"retry_after", t.:"created_at", '-infinity') >= coalesce(:from, '-infinity')
        and (
          not :queue_is_full
          or age(t.xmax) < -10000
          or age(t.xmax) > (select began_later from snapshot) and age(t.xmax) <> all ((select running from snapshot)::int[])
        )
