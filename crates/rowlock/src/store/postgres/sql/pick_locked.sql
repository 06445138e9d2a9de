-- pick_locked: locks the items that a claim would take and names them, so that a batch which the database refuses can
-- be moved in parts. Returns the tally also if there is none.
--
-- Binds: $1 to $9 as in pick
with
:pick
select chosen.key::text as key, tally.*
from (
  select
    (select count(*) from picked) as rowlock_picked,
    (select count(*) from chosen) as rowlock_chosen,
    not $9 and coalesce((select head.suspect from head), false) as rowlock_suspect_at_head
) tally
left join chosen on true
order by chosen.n
