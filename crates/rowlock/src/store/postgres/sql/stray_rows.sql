-- stray_rows: rows that no worker takes up, by their words, and rows in progress without a lease; each counted no
-- further than the limit.
--
-- Index: the one over the other words, by skipping from word to word, and the one over the words in progress.
-- Binds: $1 limit   $2 most words
with recursive stopped (word) as (
  select min(t.:"status")::text
  from :table t
  where :is_stopped
  union all
  select (select min(t.:"status")::text from :table t where :is_stopped and t.:"status" > stopped.word)
  from stopped
  where stopped.word is not null
)
select 'unknown' as what, others.word, tally.count
from (select word from stopped where word not in (:known_words) limit $2::bigint) others
cross join lateral (
  select count(*)
  from (select from :table t where :is_stopped and t.:"status" = others.word limit $1::bigint) counted
) tally
union all
select 'unknown', null, count(*)
from (select from :table t where :is_stopped and t.:"status" is null limit $1::bigint) counted
union all
select 'unleased', null, count(*)
from (select from :table t where t.:"status" in (:running_words) and t.:"claim_token" is null limit $1::bigint) counted
