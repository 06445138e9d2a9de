insert into legislature_videos (video_id, url, chamber, session_year, video_date, created_at)
select 'p' || n, '/day/' || n, 'senate', 2000 + n % 20, date '2020-01-01' + n, now() - n * interval '1 minute'
from generate_series(1, 70) as g(n);
insert into legislature_videos (video_id, url, session_year, video_date, transcript, status, claimed_by, claimed_at)
select 't' || n, '/day/' || n, 2024, date '2024-01-01' + n, 'words', 'transcribed', 'host-7', now() - interval '1 day'
from generate_series(1, 40) as g(n);
-- Ready again after a failure, whose error is still in the row: 5 rows.
insert into legislature_videos (video_id, url, session_year, status, error_message)
select 'r' || n, '/day/' || n, 2023, 'pending', 'HTTP 503' from generate_series(1, 5) as g(n);
-- Mistake: in progress since hours, in both stages; only one of the two words is ever reset. 12 and 8 rows.
insert into legislature_videos (video_id, url, status, claimed_by, claimed_at)
select 's' || n, '/day/' || n, 'processing', 'host-7', now() - interval '3 days' from generate_series(1, 12) as g(n);
insert into legislature_videos (video_id, url, transcript, status, claimed_by, claimed_at)
select 's2-' || n, '/day/' || n, 'words', 'summarizing', 'host-7', now() - interval '3 days'
from generate_series(1, 8) as g(n);
-- Mistake: in progress without claimed_at. 9 rows.
insert into legislature_videos (video_id, url, status) select 'u' || n, '/day/' || n, 'processing'
from generate_series(1, 9) as g(n);
insert into legislature_videos (video_id, url, status, transcript, summary, claimed_at)
select 'd' || n, '/day/' || n, 'summarized', 'words', 'few', now() - interval '2 days'
from generate_series(1, 50) as g(n);
insert into legislature_videos (video_id, url, status, error_message)
select 'e' || n, '/day/' || n, 'error', 'no sound' from generate_series(1, 15) as g(n);
-- Mistake: the status may be null, and `status <> 'x'` skips such rows. 11 rows.
insert into legislature_videos (video_id, url, status) select 'n' || n, '/day/' || n, null
from generate_series(1, 11) as g(n);
