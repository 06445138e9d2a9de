insert into job_queue (request_tag, target, backend, profile, benchmark_set, created_at, status, retry)
select 'tag' || n % 9, 'x86_64', 'llvm', 'check', n % 4, now() - n * interval '1 minute', 'queued',
  case when n % 5 > 0 then n % 2 end
from generate_series(1, 90) as g(n);
-- Mistake: ready rows over the limit of the program, which counts at dequeue. 11 rows.
insert into job_queue (request_tag, target, backend, profile, benchmark_set, created_at, status, retry)
select 'over', 'x86_64', 'llvm', 'opt', 1, now() - interval '4 days', 'queued', 3 + n % 2
from generate_series(1, 11) as g(n);
insert into collector_config values ('collector-1', now() - interval '20 days');
-- Mistake: in progress under a machine that stopped 20 days ago. 13 rows; 3 of them without started_at.
insert into job_queue (request_tag, target, backend, profile, benchmark_set, collector_name, created_at, started_at,
  status, retry)
select 'stuck', 'x86_64', 'llvm', 'opt', 1, 'collector-1', now() - interval '21 days',
  case when n > 3 then now() - interval '20 days' end, 'in_progress', 1
from generate_series(1, 13) as g(n);
-- Mistake: done, but it still names a machine, as if held. 100 rows.
insert into job_queue (request_tag, target, backend, profile, benchmark_set, collector_name, started_at, completed_at,
  status, retry)
select 'done', 'x86_64', 'llvm', 'opt', 1, 'collector-1', now() - interval '3 hours', now() - interval '1 hour',
  'success', 1
from generate_series(1, 100) as g(n);
with failed as (
  insert into job_queue (request_tag, target, backend, profile, benchmark_set, status, retry)
  select 'bad', 'x86_64', 'llvm', 'opt', 1, 'failure', 3 from generate_series(1, 20) as g(n)
  returning id
)
insert into error select id, 'exit status 101' from failed;
