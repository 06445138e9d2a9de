-- completed: the values that a completion writes. A part of complete_plain.
-- Binds: ?2 now  ?5 the word that it leads to
  :"status" = ?5,
  :"retry_count" = iif(:budget_is_per_stage, 0, t.:"retry_count"),
  :"reset_count" = iif(:budget_is_per_stage, 0, t.:"reset_count"),
  :"retry_after" = null,
  :"error_message" = iif(?5 = :'succeeded', :error_after_success, t.:"error_message"),
  :"updated_at" = ?2
