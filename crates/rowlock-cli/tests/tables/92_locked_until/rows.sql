insert into report_runs (report_id, tenant, run_at, urgency, tries)
select n, 'tenant' || n % 5, now() - n * interval '1 minute', n % 3, n % 2 from generate_series(1, 110) as g(n);
-- For later: 14 rows.
insert into report_runs (report_id, tenant, run_at)
select n, 'tenant1', now() + interval '40 days' from generate_series(201, 214) as g(n);
-- Mistake: the lock has run out, and nobody looks. 11 rows.
insert into report_runs (report_id, tenant, state, run_at, locked_until, tries, problem)
select n, 'tenant1', 'running', now() - interval '3 days', now() - interval '2 days', 1, '{"code": 7}'
from generate_series(301, 311) as g(n);
-- Mistake: locked for ever. 3 rows.
insert into report_runs (report_id, tenant, state, run_at, locked_until)
select n, 'tenant1', 'running', now() - interval '3 days', 'infinity' from generate_series(401, 403) as g(n);
-- Locked just now: 5 rows.
insert into report_runs (report_id, tenant, state, run_at, locked_until)
select n, 'tenant1', 'running', now() - interval '1 minute', now() + interval '10 minutes'
from generate_series(451, 455) as g(n);
insert into report_runs (report_id, tenant, state, run_at, finished_at)
select n, 'tenant2', 'finished', now() - interval '3 days', now() - interval '2 days'
from generate_series(501, 590) as g(n);
-- Mistake: finished, but it looks locked. 4 rows.
insert into report_runs (report_id, tenant, state, run_at, finished_at, locked_until)
select n, 'tenant2', 'finished', now() - interval '1 hour', now() - interval '1 minute', now() + interval '3 hours'
from generate_series(601, 604) as g(n);
