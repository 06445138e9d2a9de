insert into urls (id, value, via, hops, timestamp)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 120)
select 'u' || n, '/page/' || n, '/', n % 4, 1700000000 + n from g;
-- Mistake: claimed, and the time since when is written but never read. 18 rows.
insert into urls (id, value, hops, status, timestamp)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 18)
select 'c' || n, '/claimed/' || n, 1, 'CLAIMED', 1700000000 + n from g;
insert into urls (id, value, hops, status, timestamp)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 90)
select 'd' || n, '/done/' || n, 2, 'DONE', 1700000000 + n from g;
