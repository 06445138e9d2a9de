-- pick: the head of one stage's queue, in order, item by item. Shared by claim and preview.
-- Guarantee, index and binds: those of `ready_rows.sql`.
select
  t.:"key",
  t.:"status",
  t.:"retry_count",
  t.:"reset_count",
  t.:"error_message"
:ready_rows
