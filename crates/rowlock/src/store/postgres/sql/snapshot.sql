-- snapshot: the transactions that were not over when this statement began, by their age as age(xid) gives it: those
-- that were running, and the first of those that began later. It is read only if `of_full_queue` asks for it.
snapshot as materialized (
  select
    age(pg_snapshot_xmax(pg_current_snapshot())::xid) as began_later,
    array(select age(other::xid) from pg_snapshot_xip(pg_current_snapshot()) as running (other)) as running
)
