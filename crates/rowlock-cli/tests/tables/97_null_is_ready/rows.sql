-- Null says ready: 125 rows.
insert into pages (url, rank)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 125) select '/page/' || n, n % 5 from g;
-- Mistake: being fetched since January, 11 rows; with no time, 5 rows.
insert into pages (url, fetched, since)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 16)
select '/stuck/' || n, 'now', case when n <= 11 then '2026-01-05T10:00:00Z' end from g;
insert into pages (url, fetched, title)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 100)
select '/done/' || n, 'yes', 'title ' || n from g;
insert into pages (url, fetched)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 20) select '/bad/' || n, 'no' from g;
