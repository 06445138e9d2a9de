insert into document (doc_id, type, url, status, user_id, created_at, updated_at)
select 'w' || n, 'WEB', '/page/' || n, 'SCRAPE_PENDING', n % 7, now() - n * interval '1 minute',
  now() - n * interval '1 minute'
from generate_series(1, 60) as g(n);
insert into document (doc_id, type, content, status, user_id, created_at, updated_at)
select 'p' || n, 'PDF', 'words', 'EMBED_PENDING', n % 7, now() - n * interval '1 minute',
  now() - n * interval '1 minute'
from generate_series(1, 50) as g(n);
-- Mistake: in progress since a month in either stage, without any lease; one reset knows only the first. 8 and 9 rows.
insert into document (doc_id, type, url, content, status, user_id, created_at, updated_at)
select 's' || n, 'WEB', '/page/' || n, case when n > 8 then 'words' end,
  case when n <= 8 then 'SCRAPE_PROCESSING'::"Status" else 'EMBED_PROCESSING' end, 1, now() - interval '30 days',
  now() - interval '30 days'
from generate_series(1, 17) as g(n);
insert into document (doc_id, type, content, summary, status, user_id, updated_at)
select 'd' || n, 'PDF', 'words', 'few', 'COMPLETED', n % 7, now() - interval '1 day'
from generate_series(1, 90) as g(n);
insert into document (doc_id, type, status, user_id, updated_at)
select 'r' || n, 'WEB', case when n <= 12 then 'SCRAPE_REJECTED'::"Status" else 'EMBED_REJECTED' end, n % 7,
  now() - interval '1 day'
from generate_series(1, 20) as g(n);
