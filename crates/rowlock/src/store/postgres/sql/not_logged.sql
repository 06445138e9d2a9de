-- not_logged: what stands for `log_failures` where the log cannot be written: what it says is lost, and the items move.
logged as (
  select from failed
)
