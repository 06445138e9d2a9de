-- pick: the head of one stage's queue, in order, one row per item. Shared by claim and preview. The guarantee, the
-- index and the binds are those of `ready_rows.sql`.
select
  t.:"key",
  t.:"status",
  t.:"retry_count",
  t.:"reset_count",
  t.:"error_message"
:ready_rows
