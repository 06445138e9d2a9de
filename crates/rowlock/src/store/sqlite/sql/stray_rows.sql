-- stray_rows: rows that no worker takes up, by their words, and rows in progress under no lease; each counted no further
-- than the limit.

-- step: words
-- Index: the one over what stopped, by skipping from word to word.
-- Binds: ?1 limit  ?2 words at most
with recursive stopped (word) as (
  select min(t.:"status")
  from :table as t
  where :is_stopped
  union all
  select (select min(t.:"status") from :table as t where :is_stopped and t.:"status" > stopped.word)
  from stopped
  where stopped.word is not null
),
unknown as (
  select word from stopped where word not in (:known_words) limit ?2
)
select word, (
  select count(*)
  from (select 1 from :table as t where :is_stopped and t.:"status" = unknown.word limit ?1)
)
from unknown
union all
select null, n
from (select count(*) as n from (select 1 from :table as t where :is_stopped and t.:"status" is null limit ?1))
where n > 0

-- step: in_progress
-- Index: the one over what is in progress.
-- Binds: ?1 limit
select count(*)
from (select 1 from :table as t where t.:"status" in (:running_words) and t.:"claim_token" is null limit ?1)
