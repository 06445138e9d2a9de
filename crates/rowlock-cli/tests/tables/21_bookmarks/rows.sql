-- The same word says ready and in progress, so that nobody can tell one from the other.
insert into bookmarks ("id", "createdAt", "title", "archived", "userId", "type")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 60)
select 'p' || n, 1700000000 + n, 'page ' || n, n % 2, 'user' || (n % 5), 'link' from g;
insert into bookmarks ("id", "createdAt", "modifiedAt", "userId", "taggingStatus", "summarizationStatus",
  "embeddingStatus", "summary", "type")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 100)
select 'd' || n, 1700000000 + n, 1700000900, 'user' || (n % 5),
  case when n <= 70 then 'success' else 'failure' end,
  case when n <= 40 then 'success' when n <= 50 then 'failure' when n <= 80 then 'pending' end,
  case when n <= 60 then 'success' when n <= 65 then 'failure' else 'pending' end, 'few', 'link'
from g;
-- Null says that nothing is to be done: 25 rows.
insert into bookmarks ("id", "createdAt", "userId", "taggingStatus", "summarizationStatus", "embeddingStatus", "type")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 25)
select 'n' || n, 1700000000 + n, 'user1', null, null, null, 'asset' from g;
-- Mistake: a word that the program does not know. 4 rows.
insert into bookmarks ("id", "createdAt", "userId", "taggingStatus", "summarizationStatus", "embeddingStatus", "type")
with recursive g(n) as (values (1) union all select n + 1 from g where n < 4)
select 'o' || n, 1700000000 + n, 'user1', 'PENDING', null, null, 'link' from g;
