insert into uploads (path, uploaded_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 120)
select '/in/' || n, datetime('now', '-' || n || ' minutes') from g;
-- Mistake: started days ago, and never again. 13 rows.
insert into uploads (path, processing_started_at, uploaded_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 13)
select '/stuck/' || n, datetime('now', '-4 days'), datetime('now', '-5 days') from g;
insert into uploads (path, is_processed, processing_started_at, processed_at, uploaded_at)
with recursive g(n) as (values (1) union all select n + 1 from g where n < 100)
select '/out/' || n, true, datetime('now', '-4 days'), datetime('now', '-4 days'), datetime('now', '-5 days') from g;
