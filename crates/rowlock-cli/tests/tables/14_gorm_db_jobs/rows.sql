insert into gorm_db_jobs (created_at, updated_at, repo, state, retry_count)
select now() - n * interval '1 minute', now() - n * interval '1 minute', 'r' || n, 'enqueued', 0
from generate_series(1, 70) as g(n);
-- Ready again: the reason is in the word, and the time has come. 20 rows.
insert into gorm_db_jobs (created_at, repo, state, retry_count, retry_after)
select now() - interval '2 days', 'f' || n, 'failed: HTTP ' || 500 + n % 5, 1, now() - interval '1 hour'
from generate_series(1, 20) as g(n);
-- Not due yet: 6 rows.
insert into gorm_db_jobs (created_at, repo, state, retry_count, retry_after)
select now() - interval '2 days', 'l' || n, 'failed (timeout)', null, now() + interval '30 days'
from generate_series(1, 6) as g(n);
-- Mistake: failed without a time to try again (`retry_after = null` finds none of them). 7 rows.
insert into gorm_db_jobs (created_at, repo, state, retry_count)
select now() - interval '90 days', 'z' || n, 'failed', null from generate_series(1, 7) as g(n);
-- Mistake: in progress, with nothing that says since when. 13 rows.
insert into gorm_db_jobs (created_at, updated_at, repo, state)
select now() - interval '50 days', now() - interval '50 days', 's' || n, 'in_progress'
from generate_series(1, 13) as g(n);
-- Mistake: a deleted row is still enqueued. 8 rows.
insert into gorm_db_jobs (created_at, deleted_at, repo, state)
select now() - interval '5 days', now() - interval '4 days', 'x' || n, 'enqueued' from generate_series(1, 8) as g(n);
insert into gorm_db_jobs (created_at, updated_at, repo, state, rev)
select now() - interval '5 days', now() - interval '4 days', 'd' || n, 'complete', '3k' || n
from generate_series(1, 80) as g(n);
-- Mistake: no state. 5 rows.
insert into gorm_db_jobs (created_at, repo) select now() - interval '5 days', 'n' || n
from generate_series(1, 5) as g(n);
