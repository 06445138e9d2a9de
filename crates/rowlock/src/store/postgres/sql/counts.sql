-- counts: the number of items in each state, each counted no further than the limit. A word without items may be
-- missing.
--
-- Index: the partial ones over the ready words, over those in progress and over the others. Their predicates are
--        repeated here; otherwise the planner would not use them. The other words are found by skipping from word to
--        word. Successes are counted by a scan that ends at the limit; where fewer succeeded, it reads the whole table.
-- Binds: $1 limit   $2 most words of the others
with recursive stopped (word) as (
  select min(t.:"status")::text
  from :table t
  where :is_stopped
  union all
  select (select min(t.:"status")::text from :table t where :is_stopped and t.:"status" > stopped.word)
  from stopped
  where stopped.word is not null
)
select ready.word, tally.count
from unnest(array[:ready_words]::text[]) as ready (word)
cross join lateral (
  select count(*)
  from (
    select
    from :table t
    where t.:"status" in (:ready_words) and t.:"status" = ready.word and t.:"key" is not null
    limit $1::bigint
  ) counted
) tally
union all
select running.word, tally.count
from unnest(array[:running_words]::text[]) as running (word)
cross join lateral (
  select count(*)
  from (
    select
    from :table t
    where t.:"status" in (:running_words) and t.:"status" = running.word and t.:"key" is not null
    limit $1::bigint
  ) counted
) tally
union all
select :'succeeded', count(*)
from (select from :table t where t.:"status" = :'succeeded' limit $1::bigint) counted
union all
select :shown_other_word, tally.count
from (select word from stopped where word is not null limit $2::bigint) others
cross join lateral (
  select count(*)
  from (select from :table t where :is_stopped and t.:"status" = others.word limit $1::bigint) counted
) tally
union all
select null, count(*)
from (select from :table t where :is_stopped and t.:"status" is null limit $1::bigint) counted
