insert into invoices (tenant_id, id, month, amount, created_at)
select ('00000000-0000-0000-0000-00000000000' || n % 3)::uuid, n, (array[202601, 202602, 202603])[1 + n % 3],
  n + 0.50, now() - n * interval '1 minute'
from generate_series(1, 120) as g(n);
-- The same id of another tenant is another invoice, and is done: 40 rows.
insert into invoices (tenant_id, id, month, amount, state)
select '00000000-0000-0000-0000-000000000009', n, 202601, n, 'sent' from generate_series(1, 40) as g(n);
-- Mistake: open at the limit. 8 rows.
insert into invoices (tenant_id, id, month, amount, attempts, last_error)
select '00000000-0000-0000-0000-000000000009', n, 202602, n, 5, 'printer on fire'
from generate_series(101, 108) as g(n);
-- Mistake: held with an old heartbeat, 10 rows; with none, 5 rows.
insert into invoices (tenant_id, id, month, amount, state, heartbeat)
select '00000000-0000-0000-0000-000000000009', n, 202603, n, 'sending',
  case when n <= 210 then now() - interval '2 days' end from generate_series(201, 215) as g(n);
insert into invoices (tenant_id, id, month, amount, state, last_error)
select '00000000-0000-0000-0000-000000000009', n, 202602, n, 'rejected', 'no address'
from generate_series(301, 320) as g(n);
