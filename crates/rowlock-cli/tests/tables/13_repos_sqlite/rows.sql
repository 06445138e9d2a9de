insert into repos (did, handle)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 60) select 'new' || n, 'user' || n from g;
insert into repos (did, state, rev)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 30)
select 'behind' || n, 'desynchronized', '3k' || n from g;
-- Ready again, 0 being "no delay" and '' "no error": 12 rows whose time has come, 8 without one.
insert into repos (did, state, error_msg, retry_count, retry_after)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 20)
select 'again' || n, 'error', 'HTTP 502', 1 + n, case when n <= 12 then 1700000000 + n else 0 end from g;
-- Not due before the year 2096: 9 rows.
insert into repos (did, state, error_msg, retry_count, retry_after)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 9)
select 'later' || n, 'error', 'HTTP 429', 3, 4000000000 + n from g;
-- Mistake: in progress with no lease at all. 14 rows.
insert into repos (did, state)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 14) select 'stuck' || n, 'resyncing' from g;
insert into repos (did, state, rev)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 60) select 'ok' || n, 'active', '3k' || n
from g;
insert into repos (did, state, status)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 15)
select 'off' || n, case n % 3 when 0 then 'takendown' when 1 then 'suspended' else 'deactivated' end, 'inactive' from g;
-- Mistake: a word that the CHECK should have kept out. 5 rows.
insert into repos (did, state)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 5) select 'odd' || n, 'resynching' from g;
