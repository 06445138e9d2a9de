-- continued: the new values of a row that goes on to the next stage. A part of continue_items.
-- Binds: ?2 now  ?5 the next word in progress  ?6 new token  ?7 holder
  :"status" = ?5,
  :"claim_token" = ?6,
  :"claimed_by" = ?7,
  :"claimed_at" = ?2,
  :"heartbeat_at" = ?2,
  :"retry_count" = iif(:budget_is_per_stage, 0, t.:"retry_count"),
  :"reset_count" = iif(:budget_is_per_stage, 0, t.:"reset_count"),
  :"retry_after" = null,
  :"updated_at" = ?2
