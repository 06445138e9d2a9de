-- claim_plain: claims items of one stage if all of them can be taken: none is at a limit, and none is a suspect. Nearly
-- every claim is of this kind, and the parts of `claim` for other items cost the server more than the rest of a small
-- claim.
--
-- Guarantee: that of `claim`. If it meets another item, it writes nothing and says so; `claim` follows.
-- Answer:    the claimed rows, or one row without an item. Each carries the number of picked items, null if one of them
--            is special.
-- Order:     none, as in `claim`.
-- Index:     that of `claim`.
-- Binds:     $1 ready word   $2 to $7 as in pick   $8 token   $9 holder
with
:pick_plain,
moved as (
  :take_plain
)
select
  moved.*,
  case when not picked.is_special then picked.n end as rowlock_picked
from picked
left join moved on true
