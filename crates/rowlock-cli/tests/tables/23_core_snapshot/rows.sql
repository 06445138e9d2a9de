insert into core_snapshot (id, created_at, modified_at, url, timestamp, bookmarked_at, crawl_id, depth, fs_version,
  current_step, retry_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 85)
select printf('%032d', n), datetime('now', '-' || n || ' minutes') || '.123456',
  datetime('now', '-' || n || ' minutes'), '/page/' || n, '17000' || n,
  datetime('now', '-1 day'), printf('%032d', n % 3), n % 4, '0.9', n % 10, datetime('now', '-' || n || ' minutes')
from g;
-- Mistake: due times in ISO text with T beside those with a blank; compared as text, T is later. 10 rows, due since
-- days.
insert into core_snapshot (id, created_at, modified_at, url, timestamp, bookmarked_at, crawl_id, fs_version, retry_at)
with recursive g(n) as (values (1001) union all select n + 1 from g where n < 1010)
select printf('%032d', n), datetime('now', '-3 days'), datetime('now'), '/page/' || n, '1', datetime('now'),
  printf('%032d', 1), '0.9',
  strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 days')
from g;
-- Not due for a century: 9 rows.
insert into core_snapshot (id, created_at, modified_at, url, timestamp, bookmarked_at, crawl_id, fs_version, retry_at)
with recursive g(n) as (values (1101) union all select n + 1 from g where n < 1109)
select printf('%032d', n), datetime('now', '-3 days'), datetime('now'), '/page/' || n, '1', datetime('now'),
  printf('%032d', 1), '0.9', '2126-01-01 00:00:00'
from g;
-- Mistake: a due time that nobody can read, and is never due. 3 rows.
insert into core_snapshot (id, created_at, modified_at, url, timestamp, bookmarked_at, crawl_id, fs_version, retry_at)
with recursive g(n) as (values (1201) union all select n + 1 from g where n < 1203)
select printf('%032d', n), datetime('now', '-3 days'), datetime('now'), '/page/' || n, '1', datetime('now'),
  printf('%032d', 1), '0.9', '28.11.2026 12:00'
from g;
-- Mistake: in progress; the lease ran out long ago (7 rows) or was never written (6 rows).
insert into core_snapshot (id, created_at, modified_at, url, timestamp, bookmarked_at, crawl_id, fs_version,
  current_step, retry_at, status)
with recursive g(n) as (values (1301) union all select n + 1 from g where n < 1313)
select printf('%032d', n), datetime('now', '-9 days'), datetime('now', '-9 days'), '/page/' || n, '1',
  datetime('now'), printf('%032d', 1), '0.9', n % 10,
  case when n <= 1307 then datetime('now', '-8 days') end, 'started'
from g;
insert into core_snapshot (id, created_at, modified_at, url, timestamp, bookmarked_at, crawl_id, fs_version,
  current_step, retry_at, status, downloaded_at)
with recursive g(n) as (values (1401) union all select n + 1 from g where n < 1480)
select printf('%032d', n), datetime('now', '-9 days'), datetime('now', '-9 days'), '/page/' || n, '1',
  datetime('now'), printf('%032d', 2), '0.9', 9, null,
  'sealed', datetime('now', '-8 days')
from g;
