-- stale: the items whose holder stopped sending heartbeats. Shared by sweep, sweep_part and pick_stale.
--
-- Guarantee: every word in progress is looked at, a missing heartbeat is stale, a locked row is busy and left alone. Stale is
--            also one that is ahead by more than its holder may be silent: it was written by a clock that was wrong, and would
--            keep the item until that time has come. The given time may be older than the statement, by a suspend between
--            the two: what was renewed meanwhile is not ahead.
-- Index:     the partial one over the words in progress: the scan costs what is in progress, not what is in the table.
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
