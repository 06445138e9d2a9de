insert into scheduled_tasks (id, action, status, timestamp, resource_id, params)
select 's' || n, 'purge', 'scheduled', 1700000000000 + n * 60000, 'item' || n % 9, '{}'
from generate_series(1, 90) as g(n);
-- Scheduled for the year 2096: 12 rows.
insert into scheduled_tasks (id, action, status, timestamp) select 'l' || n, 'purge', 'scheduled', 4000000000000 + n
from generate_series(1, 12) as g(n);
-- Mistake: written in seconds where milliseconds are meant, so that it is due since 1970. 3 rows.
insert into scheduled_tasks (id, action, status, timestamp) select 'u' || n, 'purge', 'scheduled', 1900000000 + n
from generate_series(1, 3) as g(n);
-- Mistake: active with no lease; the one process that may run them was replaced. 11 rows.
insert into scheduled_tasks (id, action, status, timestamp, error) select 'a' || n, 'purge', 'active', 1700000000000,
  null from generate_series(1, 11) as g(n);
insert into scheduled_tasks (id, action, status, timestamp, result) select 'c' || n, 'purge', 'complete',
  1700000000000, '{"n": 1}' from generate_series(1, 60) as g(n);
insert into scheduled_tasks (id, action, status, timestamp, error) select 'f' || n, 'purge', 'failed', 1700000000000,
  'no such item' from generate_series(1, 15) as g(n);
insert into scheduled_tasks (id, action, status, timestamp) select 'x' || n, 'purge', 'cancelled', 1700000000000
from generate_series(1, 10) as g(n);
-- Mistake: the same word in another spelling. 4 rows.
insert into scheduled_tasks (id, action, status, timestamp) select 'y' || n, 'purge', 'canceled', 1700000000000
from generate_series(1, 4) as g(n);
