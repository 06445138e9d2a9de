-- pick_locked: locks the items that a claim would take and names them, so that a batch that failed can be tried in
-- parts. Returns the tally even if there is no item.
--
-- Binds: $1 to $9 as in pick
with
:pick
select named.*, tally.*
from (
  select
    (select count(*) from picked) as rowlock_picked,
    (select count(*) from chosen) as rowlock_chosen,
    not $9 and coalesce((select head.suspect from head), false) as rowlock_suspect_at_head
) tally
left join (
  select chosen.n, named.*
  from chosen
  cross join lateral (
    select
      :place,
      t.:"status"::text as word
    from :table t
    where t.:"key" = chosen.key
    limit 1
  ) named
) named on true
order by named.n
