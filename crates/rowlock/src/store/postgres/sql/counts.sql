-- counts: how many items are in each state, each counted no further than the limit.
--
-- Index: the partial ones for the ready words and for those in progress; the terminal words and the unknown ones are
--        counted by a scan that ends at the limit.
-- Binds: $1 limit
select known.word, tally.count
from unnest(array[:known_words]::text[]) as known (word)
cross join lateral (
  select count(*) as count
  from (select from :table t where t.:"status" = known.word limit $1::bigint) counted
) tally
union all
select unknown.word, count(*)
from (
  select t.:"status"::text as word
  from :table t
  where t.:"status" is null or t.:"status" not in (:known_words)
  limit $1::bigint
) unknown
group by unknown.word
