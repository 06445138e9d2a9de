-- lock_leases: the leases of `input` that are still held, locked, with the places of their rows. A part of finish.
  select input.*, locked.place
  from input
  cross join lateral (
    select t.ctid as place
    from :table t
    where t.:"key" = input.key
      and t.:"claim_token" = input.token
      and t.:"status" = input.word
    :lock_lease
  ) locked
