insert into sync_queue (id, table_name, record_id, operation, payload_json, priority, attempts, created_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 90)
select 'p' || n, 'notes', 'r' || n, 'upsert', '{}',
  case n % 4 when 0 then 'critical' when 1 then 'high' when 2 then 'normal' else 'low' end, n % 3,
  strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || n || ' minutes')
from g;
-- Mistake: times in two formats in one column, which do not compare as text. 15 rows, and 5 without any.
insert into sync_queue (id, table_name, record_id, operation, payload_json, priority, created_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 20)
select 'm' || n, 'notes', 'r' || n, 'upsert', '{}', 'normal', case when n <= 15 then datetime('now', '-2 days') end
from g;
-- Mistake: ready rows over the limit. 10 rows.
insert into sync_queue (id, table_name, record_id, operation, payload_json, priority, attempts, created_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 10)
select 'l' || n, 'notes', 'r' || n, 'delete', '{}', 'low', 5 + n, '2026-01-01T00:00:00.000Z' from g;
-- Mistake: in progress with no lease at all; after a crash they stay so. 12 rows.
insert into sync_queue (id, table_name, record_id, operation, payload_json, priority, attempts, last_attempt_at,
  status, created_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 12)
select 's' || n, 'notes', 'r' || n, 'upsert', '{}', 'high', 1, '2026-02-01T00:00:00.000Z', 'syncing',
  '2026-02-01T00:00:00.000Z' from g;
insert into sync_queue (id, table_name, record_id, operation, payload_json, priority, attempts, synced_at, status,
  created_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 70)
select 'd' || n, 'notes', 'r' || n, 'upsert', '{}', 'normal', 1, '2026-03-01T00:00:00.000Z', 'synced',
  '2026-02-01T00:00:00.000Z' from g;
insert into sync_queue (id, table_name, record_id, operation, payload_json, priority, attempts, status, created_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 15)
select 'f' || n, 'notes', 'r' || n, 'upsert', '{}', 'normal', 5, 'failed', '2026-02-01T00:00:00.000Z' from g;
-- Mistake: a word of an older version of the program. 4 rows.
insert into sync_queue (id, table_name, record_id, operation, payload_json, priority, status)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 4)
select 'o' || n, 'notes', 'r' || n, 'upsert', '{}', 'normal', 'done' from g;
