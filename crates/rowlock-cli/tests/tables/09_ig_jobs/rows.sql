-- Another program downloads these, and says audio_ready: 40 rows.
insert into ig_jobs (ig_code, owner_id, updated_at)
select 'q' || n, gen_random_uuid(), now() - n * interval '1 minute' from generate_series(1, 40) as g(n);
insert into ig_jobs (ig_code, r2_bucket, r2_key, status, updated_at)
select 'a' || n, 'audio', 'k' || n, 'audio_ready', now() - n * interval '1 minute' from generate_series(1, 75) as g(n);
-- Mistake: in progress, and updated_at says since when; nobody looks. 16 rows.
insert into ig_jobs (ig_code, r2_bucket, r2_key, status, updated_at)
select 's' || n, 'audio', 'k' || n, 'transcribing', now() - interval '9 days' from generate_series(1, 16) as g(n);
-- In progress, just now: 4 rows.
insert into ig_jobs (ig_code, r2_bucket, r2_key, status) select 'l' || n, 'audio', 'k' || n, 'transcribing'
from generate_series(1, 4) as g(n);
insert into ig_jobs (ig_code, transcript_text, status, transcribed_at, updated_at)
select 'd' || n, 'words', 'transcribed', now() - interval '1 day', now() - interval '1 day'
from generate_series(1, 60) as g(n);
-- Mistake: done without a result. 10 rows.
insert into ig_jobs (ig_code, transcript_text, status, transcribed_at, updated_at)
select 'e' || n, '', 'transcribed', now() - interval '1 day', now() - interval '1 day'
from generate_series(1, 10) as g(n);
insert into ig_jobs (ig_code, status, updated_at) select 'n' || n, 'no_speech', now() - interval '1 day'
from generate_series(1, 10) as g(n);
