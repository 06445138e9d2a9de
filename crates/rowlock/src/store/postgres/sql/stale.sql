-- stale: the items whose holder stopped sending heartbeats. Shared by sweep, sweep_part and pick_stale.
--
-- Guarantee: every word in progress is looked at. A missing heartbeat is stale; a locked row is busy and left alone. A
--            heartbeat further ahead than a holder may be silent is stale too: a wrong clock wrote it, and it would
--            keep the item until that time comes. The given time may be older than the statement, by a suspend between
--            the two: what was renewed in the meantime is not ahead.
-- Index:     the partial one over the words in progress: the cost of the scan depends on the number of items in
--            progress, not on the size of the table.
-- Binds:     $1 limit   $2 seconds after which a heartbeat is stale   $3 now, or null   $4 max_resets
--            $5 keys to leave out, or null   $6 in `sweep_part` only these places, else null
stale as materialized (
  select t.:"key" as key
  from :table t
  where :stale_rows
    and t.:"key" is not null
    and (
      t.:"heartbeat_at" is null
      or t.:"heartbeat_at" < coalesce($3::timestamptz, statement_timestamp()) - make_interval(secs => $2::float8)
      or t.:"heartbeat_at" > greatest($3::timestamptz, statement_timestamp()) + make_interval(secs => $2::float8)
    )
    and :left_out
  limit $1::bigint
  for no key update skip locked
)
