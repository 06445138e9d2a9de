insert into "importStagingBookmarks" ("id", "importSessionId", "type", "url", "tags", "createdAt")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 95)
select 'p' || n, 'session' || (n % 4), 'link', '/page/' || n, '["a"]', 1700000000 + n from g;
-- Ready again, with the reason of an earlier failure. 6 rows.
insert into "importStagingBookmarks" ("id", "importSessionId", "type", "resultReason", "createdAt")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 6)
select 'r' || n, 'session1', 'text', 'HTTP 500', 1700000000 + n from g;
-- Mistake: in progress since hours. 14 rows.
insert into "importStagingBookmarks" ("id", "importSessionId", "type", "status", "processingStartedAt", "createdAt")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 14)
select 's' || n, 'session1', 'link', 'processing', cast(strftime('%s', 'now') as integer) - 7200 * n, 1700000000 + n
from g;
-- Mistake: in progress without a stamp. 7 rows.
insert into "importStagingBookmarks" ("id", "importSessionId", "type", "status", "createdAt")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 7)
select 'u' || n, 'session1', 'link', 'processing', 1700000000 + n from g;
-- In progress, just now: 3 rows.
insert into "importStagingBookmarks" ("id", "importSessionId", "type", "status", "processingStartedAt", "createdAt")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 3)
select 'l' || n, 'session1', 'link', 'processing', cast(strftime('%s', 'now') as integer), 1700000000 + n from g;
insert into "importStagingBookmarks" ("id", "importSessionId", "type", "status", "result", "resultBookmarkId",
  "createdAt", "completedAt")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 80)
select 'd' || n, 'session2', 'link', 'completed', 'accepted', 'b' || n, 1700000000 + n, 1700000500 + n from g;
insert into "importStagingBookmarks" ("id", "importSessionId", "type", "status", "result", "resultReason",
  "createdAt", "completedAt")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 20)
select 'f' || n, 'session2', 'link', 'failed', 'rejected', 'bad url', 1700000000 + n, 1700000500 + n from g;
