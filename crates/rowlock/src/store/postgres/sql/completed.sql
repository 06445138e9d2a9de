-- completed: the new values of a row whose stage is done. A part of complete and complete_batch.
--
-- Binds: $3 now, or null
  :"status" = :next_of_running,
  :"retry_count" = case when :budget_is_per_stage then 0 else t.:"retry_count" end,
  :"reset_count" = case when :budget_is_per_stage then 0 else t.:"reset_count" end,
  :"retry_after" = null,
  :"error_message" = :error_after_completion,
  :"updated_at" = coalesce($3::timestamptz, statement_timestamp())
