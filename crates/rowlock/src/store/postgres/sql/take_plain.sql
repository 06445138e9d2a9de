-- take_plain: takes what was picked, unless any item is special. A part of claim_plain and claim_full.
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
    t.:"key"::text as rowlock_key
