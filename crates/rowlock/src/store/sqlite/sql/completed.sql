-- completed: what a completion writes. A part of complete_plain.
-- Binds: ?2 now  ?5 the word that it leads to
  :"status" = ?5,
  :"retry_count" = :retry_count_of_completed,
  :"reset_count" = :reset_count_of_completed,
  :"retry_after" = null,
  :"updated_at" = ?2
