insert into work_queue (task_name, organization_id, instance_num, spec, tries, created_at, priority)
select 'rollup', gen_random_uuid(), n % 3, '{}', n % 3, now() - n * interval '1 minute', n % 5
from generate_series(1, 100) as g(n);
-- Mistake: claimed without a heartbeat, which `heartbeated_at < …` never finds. 8 rows.
insert into work_queue (task_name, organization_id, instance_num, spec, claimed_by, claimed_at, priority)
select 'rollup', gen_random_uuid(), 1, '{}', 77, now() - interval '2 days', 1 from generate_series(1, 8) as g(n);
-- Mistake: the heartbeat stopped two days ago. 9 rows.
insert into work_queue (task_name, organization_id, instance_num, spec, claimed_by, claimed_at, heartbeated_at,
  priority)
select 'rollup', gen_random_uuid(), 1, '{}', 77, now() - interval '2 days', now() - interval '2 days', 1
from generate_series(1, 9) as g(n);
-- Mistake: a heartbeat in the future, by a wrong clock, is never old. 5 rows.
insert into work_queue (task_name, organization_id, instance_num, spec, claimed_by, claimed_at, heartbeated_at,
  priority)
select 'rollup', gen_random_uuid(), 1, '{}', 78, now() - interval '2 days', now() + interval '2 days', 1
from generate_series(1, 5) as g(n);
-- Held just now: 4 rows.
insert into work_queue (task_name, organization_id, instance_num, spec, claimed_by, claimed_at, heartbeated_at,
  priority)
select 'ingest', gen_random_uuid(), 1, '{}', 79, now(), now(), 1 from generate_series(1, 4) as g(n);
insert into work_queue (task_name, organization_id, instance_num, spec, tries, failed, failed_reason, priority)
select 'ingest', gen_random_uuid(), 1, '{}', 10, true, 'bad spec', 1 from generate_series(1, 60) as g(n);
-- Mistake: failed, but it looks held. 6 rows.
insert into work_queue (task_name, organization_id, instance_num, spec, tries, claimed_by, failed, failed_reason,
  priority)
select 'ingest', gen_random_uuid(), 1, '{}', 10, 77, true, 'bad spec', 1 from generate_series(1, 6) as g(n);
