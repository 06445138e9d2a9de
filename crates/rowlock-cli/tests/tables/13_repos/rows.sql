insert into repos (did, handle) select 'new' || n, 'user' || n from generate_series(1, 60) as g(n);
insert into repos (did, state, rev) select 'behind' || n, 'desynchronized', '3k' || n
from generate_series(1, 30) as g(n);
-- Ready again, 0 being "no delay" and '' "no error": 12 rows whose time has come, 8 without one.
insert into repos (did, state, error_msg, retry_count, retry_after)
select 'again' || n, 'error', 'HTTP 502', 1 + n, case when n <= 12 then 1700000000 + n else 0 end
from generate_series(1, 20) as g(n);
-- Not due before the year 2096: 9 rows.
insert into repos (did, state, error_msg, retry_count, retry_after)
select 'later' || n, 'error', 'HTTP 429', 3, 4000000000 + n from generate_series(1, 9) as g(n);
-- Mistake: in progress with no lease at all. 14 rows.
insert into repos (did, state) select 'stuck' || n, 'resyncing' from generate_series(1, 14) as g(n);
insert into repos (did, state, rev) select 'ok' || n, 'active', '3k' || n from generate_series(1, 60) as g(n);
insert into repos (did, state, status)
select 'off' || n, (array['takendown', 'suspended', 'deactivated'])[1 + n % 3], 'inactive'
from generate_series(1, 15) as g(n);
-- Mistake: a word that the CHECK should have kept out. 5 rows.
insert into repos (did, state) select 'odd' || n, 'resynching' from generate_series(1, 5) as g(n);
