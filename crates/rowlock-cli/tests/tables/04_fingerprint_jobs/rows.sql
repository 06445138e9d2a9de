insert into fingerprint_jobs (track_id, attempts, created_at, updated_at)
select gen_random_uuid(), n % 3, now() - n * interval '1 minute', now() - n * interval '1 minute'
from generate_series(1, 90) as g(n);
-- Ready again after a failure, whose error is still in the row: 10 rows.
insert into fingerprint_jobs (track_id, attempts, error_message, created_at)
select gen_random_uuid(), 1, 'decoder gave up', now() - interval '2 days' from generate_series(1, 10) as g(n);
-- Mistake: ready rows at their limit, which the claim skips for ever; 7 with an error, 5 without.
insert into fingerprint_jobs (track_id, attempts, error_message, created_at)
select gen_random_uuid(), 3, case when n <= 7 then 'no audio' end, now() - interval '3 days'
from generate_series(1, 12) as g(n);
-- Mistake: in progress for weeks. 14 rows.
insert into fingerprint_jobs (track_id, status, attempts, created_at, updated_at)
select gen_random_uuid(), 'processing', 1, now() - interval '30 days', now() - interval '30 days'
from generate_series(1, 14) as g(n);
insert into fingerprint_jobs (track_id, status, attempts, completed_at, updated_at)
select gen_random_uuid(), 'completed', 1, now() - interval '5 days', now() - interval '5 days'
from generate_series(1, 80) as g(n);
insert into fingerprint_jobs (track_id, status, attempts, error_message)
select gen_random_uuid(), 'failed', 3, 'no audio' from generate_series(1, 20) as g(n);
