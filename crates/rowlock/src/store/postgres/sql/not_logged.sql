-- not_logged: replaces `log_failures` where the log cannot be written: the failures are lost, and the items move.
logged as (
  select from failed
)
