-- of_full_queue: what a claim leaves out as long as the queue is full. A part of the claims.
--
-- First, what lies before the place where the last claim ended. The index entries of what was claimed from there are
-- dead but not vacuumed; without a lower bound each claim rescans them.
--
-- Second, what another transaction has locked or changed since this statement began, or was working on when it began.
-- `skip locked` skips a row only as long as the other transaction lasts. A row that another claim took after this one
-- began is locked at its new version, found to be no longer ready, and stays locked to the end of this claim; until
-- then its holder cannot finish it. With eight claimers on one queue that was half of all rows. So they are left out
-- before they are locked.
--
-- xmax names the last transaction that locked or replaced a row. It is over, unless it began after this statement or
-- was running when this statement began; a lock that ended in the meantime is taken for one that lasts. Savepoints are
-- left to `skip locked`, because the snapshot does not list them. So are locks of several transactions at once, whose
-- number is not that of a transaction. A number more than 10,000 ahead is surely of this kind, since fewer transactions
-- begin during a claim. A nearer one hides its row until the transactions have passed it, or the queue is no longer
-- full.
--
-- Binds: :queue_is_full   :from, ready since then, or null
        and coalesce(t.:"retry_after", t.:"created_at", '-infinity') >= coalesce(:from, '-infinity')
        and (
          not :queue_is_full
          or age(t.xmax) < -10000
          or age(t.xmax) > (select began_later from snapshot)
            and age(t.xmax) <> all ((select running from snapshot)::int[])
        )
