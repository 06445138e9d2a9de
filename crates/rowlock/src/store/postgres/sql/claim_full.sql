-- claim_full: claim_plain.sql for a full queue. It leaves out rows that other transactions are changing, and starts
-- where the last claim ended.
--
-- Buys:      before it began where the last one ended, under an old snapshot the last tenth of a drain was half as
--            fast as the first. Before it left out those rows, a fleet of eight did 0.58 of one process; 0.8 since,
--            with a quarter of the statements. Without a tally, and with three other changes, the client's time an
--            item went from 7.6 to 5.3 µs.
-- Guarantee: that of `claim`.
-- Answer:    the updated rows, directly. To join them with a tally, the server would keep them and copy them twice. So
--            the answer is empty both where nothing was picked and where a special item was picked; `claim` follows.
-- Order:     none, as in `claim`.
-- Index:     that of `claim`.
-- Binds:     $1 to $9 as in claim_plain.sql   $10 where to start: ready since then, or null
with
-- The transactions that were not over when this statement began, by their age as age(xid) gives it: those that were
-- running, and the first of those that began later.
snapshot as materialized (
  select
    age(pg_snapshot_xmax(pg_current_snapshot())::xid) as began_later,
    array(select age(other::xid) from pg_snapshot_xip(pg_current_snapshot()) as running (other)) as running
),
picked as materialized (
  select array_agg(head.key) as keys, count(*) as n, coalesce(bool_or(head.is_special), false) as is_special
  from (
    select
      t.:"key" as key,
      coalesce(t.:"retry_count", 0) >= $4::int
        or coalesce(t.:"reset_count", 0) >= $5::int
        or coalesce(t.:"reset_count", 0) >= 1 and coalesce(t.:"reset_count", 0) = $5::int - 1 as is_special
    from :table t
    where t.:"status" = $1::text
      and :is_ready
      and not exists (
        select from :rowlock_stages s where s.pipeline = :'pipeline' and :ready_of_stage = $1::text
      )
      and t.:"key" is not null
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') <= coalesce($3::timestamptz, statement_timestamp())
      and (
        $7::text[] is null
        or t.:"key"::text <> all ($7::text[])
        and (
          getdatabaseencoding() <> 'SQL_ASCII'
          or concat('\x', encode(convert_to(t.:"key"::text, 'SQL_ASCII'), 'hex')) <> all ($7::text[])
        )
      )
      and (not $6::bool or (coalesce(t.:"retry_count", 0) < $4::int and coalesce(t.:"reset_count", 0) < $5::int))
      -- First, what lies before the place where the last claim ended is left out. The index entries of what was claimed
      -- from there are dead but not vacuumed; without a lower bound each claim rescans them.
      and coalesce(t.:"retry_after", t.:"created_at", '-infinity') >= coalesce($10::timestamptz, '-infinity')
      -- Second, what another transaction has locked or changed since this statement began, or was working on when it
      -- began. `skip locked` skips a row only as long as the other transaction lasts. A row that another claim took
      -- after this one began is locked at its new version, found to be no longer ready, and stays locked to the end of
      -- this claim; until then its holder cannot finish it. With eight claimers on one queue that was half of all rows.
      -- So they are left out before they are locked.
      --
      -- xmax names the last transaction that locked or replaced a row. It is over, unless it began after this statement
      -- or was running when this statement began; a lock that ended in the meantime is taken for one that lasts.
      -- Savepoints are left to `skip locked`, because the snapshot does not list them. So are locks of several
      -- transactions at once, whose number is not that of a transaction. A number more than 10,000 ahead is surely of
      -- this kind, since fewer transactions begin during a claim. A nearer one hides its row until the transactions
      -- have passed it, or the queue is no longer full.
      and (
        not true -- The queue is full, which is a bind of claim.sql.
        or age(t.xmax) < -10000
        or age(t.xmax) > (select began_later from snapshot)
          and age(t.xmax) <> all ((select running from snapshot)::int[])
      )
    order by :queue_order
    limit $2::bigint
    for update of t skip locked
  ) as head
)
update :table t
set
  :"status" = :running_of_ready,
  :"claim_token" = $8::bigint,
  :"claimed_by" = $9::text,
  :"claimed_at" = coalesce($3, statement_timestamp()),
  :"heartbeat_at" = coalesce($3, statement_timestamp()),
  :"updated_at" = coalesce($3, statement_timestamp())
where t.:"key" = any (coalesce((select keys from picked where not is_special), '{}'))
  and coalesce(t.:"status", '') in (:ready_words)
returning
  t.*,
  coalesce(t.:"retry_after", t.:"created_at", '-infinity') as rowlock_ready_since,
  t.:"key"::text as rowlock_key:and_role_values,
  (select n from picked) as rowlock_picked
