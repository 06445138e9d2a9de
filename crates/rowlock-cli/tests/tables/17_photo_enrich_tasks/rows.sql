insert into photo_enrich_tasks (job_id, listing_id, listing_name, attempt_count, firecrawl_url_trace)
select n % 3, gen_random_uuid(), 'listing ' || n, case when n % 7 > 0 then n % 3 end, '{"tried": []}'
from generate_series(1, 90) as g(n);
-- Mistake: ready rows at the limit. 9 rows.
insert into photo_enrich_tasks (job_id, listing_id, attempt_count) select 1, gen_random_uuid(), 3
from generate_series(1, 9) as g(n);
-- Mistake: in progress since 25 days, by updated_at; 4 of the 15 rows have none.
insert into photo_enrich_tasks (job_id, listing_id, task_status, attempt_count, updated_at)
select 1, gen_random_uuid(), 'in_progress', 1, case when n > 4 then now() - interval '25 days' end
from generate_series(1, 15) as g(n);
insert into photo_enrich_tasks (job_id, listing_id, task_status, hero_image_found, gallery_count, finished_at,
  updated_at)
select 1, gen_random_uuid(), 'done', true, 4, now() - interval '2 days', now() - interval '2 days'
from generate_series(1, 70) as g(n);
-- Failed is a done row with a reason.
insert into photo_enrich_tasks (job_id, listing_id, task_status, attempt_count, fallback_reason, finished_at)
select 1, gen_random_uuid(), 'done', 3, 'no image', now() - interval '2 days' from generate_series(1, 20) as g(n);
insert into photo_enrich_tasks (job_id, listing_id, task_status) select 2, gen_random_uuid(), 'cancelled'
from generate_series(1, 10) as g(n);
