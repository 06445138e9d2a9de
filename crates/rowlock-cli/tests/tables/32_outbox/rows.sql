insert into outbox (partition_key, destinations, headers, payload, attempts, created_at, process_after)
select gen_random_uuid(), '["mail"]', '{"v": 1}', 'message ' || n, n % 3, now() - n * interval '1 minute',
  now() - n * interval '1 minute'
from generate_series(1, 110) as g(n);
-- Mistake: waiting messages at the limit, which no query finds any more. 13 rows.
insert into outbox (partition_key, destinations, payload, attempts, created_at, process_after)
select gen_random_uuid(), '["mail"]', 'spent ' || n, 10 + n % 2, now() - interval '9 days', now() - interval '8 days'
from generate_series(1, 13) as g(n);
-- For later: 9 rows. Mistake: for "infinity", so never: 2 rows.
insert into outbox (partition_key, destinations, payload, process_after)
select gen_random_uuid(), '["mail"]', 'later ' || n,
  case when n <= 9 then now() + interval '90 days' else 'infinity' end from generate_series(1, 11) as g(n);
-- Done; the program counts the success as an attempt, too.
insert into outbox (partition_key, destinations, payload, attempts, processed_at)
select gen_random_uuid(), '["mail"]', 'sent ' || n, 1, now() - interval '1 hour' from generate_series(1, 90) as g(n);
-- Mistake: a lock of a process that is gone.
insert into outbox_lock select partition_key, gen_random_uuid(),
  now() - interval '2 days' from outbox where payload = 'message 1';
