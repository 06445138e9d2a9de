-- unless_locked: skips the row of one lease if another transaction has it locked. A part of complete.
  and t.ctid = any (array(
    select held.ctid
    from :table held
    where held.:"key" = $1::text:::key_type
      and held.:"claim_token" = $2::bigint
      and coalesce(held.:"status", '') = $4::text
    for no key update skip locked
  ))
