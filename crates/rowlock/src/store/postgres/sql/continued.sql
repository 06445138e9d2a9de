-- continued: the new values of a row that goes on to the next stage. A part of continue_items and continue_batch.
--
-- Binds: $3 now, or null   $5 the next word in progress   $6 new token   $7 holder
  :"status" = $5::text,
  :"claim_token" = $6::bigint,
  :"claimed_by" = $7::text,
  :"claimed_at" = coalesce($3::timestamptz, statement_timestamp()),
  :"heartbeat_at" = coalesce($3::timestamptz, statement_timestamp()),
  :"retry_count" = case when :budget_is_per_stage then 0 else t.:"retry_count" end,
  :"reset_count" = case when :budget_is_per_stage then 0 else t.:"reset_count" end,
  :"retry_after" = null,
  :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
