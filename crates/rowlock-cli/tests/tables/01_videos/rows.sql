-- Ready: 80 rows.
insert into videos (user_id, filename, video_url, status, created_at, updated_at, thumbnail_status)
select n, 'clip ' || n, '/clips/' || n, 'completed', now() - n * interval '1 minute', now() - n * interval '1 minute',
  'queued'
from generate_series(1, 80) as g(n);
-- Mistake: a deleted row stays queued, and only a predicate keeps it from the claim. 20 rows.
insert into videos (user_id, filename, video_url, status, deleted_at, thumbnail_status)
select n, 'deleted ' || n, '/clips/' || n, 'completed', now() - interval '1 day', 'queued'
from generate_series(101, 120) as g(n);
-- Mistake: in progress with an old stamp; its worker is gone. 15 rows.
insert into videos (user_id, filename, video_url, status, created_at, thumbnail_status, thumbnail_processing_started_at)
select n, 'stuck ' || n, '/clips/' || n, 'completed', now() - interval '41 days', 'processing',
  now() - interval '40 days'
from generate_series(201, 215) as g(n);
-- Mistake: in progress without a stamp, which `stamp < …` never finds. 10 rows.
insert into videos (user_id, filename, video_url, status, created_at, thumbnail_status)
select n, 'unstamped ' || n, '/clips/' || n, 'completed', now() - interval '41 days', 'processing'
from generate_series(301, 310) as g(n);
-- In progress, just now: 5 rows.
insert into videos (user_id, filename, video_url, status, thumbnail_status, thumbnail_processing_started_at)
select n, 'live ' || n, '/clips/' || n, 'completed', 'processing', now() from generate_series(401, 405) as g(n);
insert into videos (user_id, filename, video_url, thumbnail_url, status, processed_at, thumbnail_status)
select n, 'done ' || n, '/clips/' || n, '/thumbnails/' || n, 'completed', now(), 'completed'
from generate_series(501, 560) as g(n);
insert into videos (user_id, filename, video_url, status, thumbnail_status)
select n, 'failed ' || n, '/clips/' || n, 'completed', 'failed' from generate_series(601, 620) as g(n);
-- Null says that no thumbnail is wanted: 20 rows.
insert into videos (user_id, filename, video_url) select n, 'new ' || n, '/clips/' || n
from generate_series(701, 720) as g(n);
-- Mistake: a word that no program knows any more. 6 rows.
insert into videos (user_id, filename, video_url, status, thumbnail_status)
select n, 'odd ' || n, '/clips/' || n, 'completed', 'Queued ' from generate_series(801, 806) as g(n);
