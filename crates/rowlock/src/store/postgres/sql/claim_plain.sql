-- claim_plain: a claim of one stage's items all of which are to be taken: none is at a limit, none a suspect. That is nearly
-- every claim, and `claim` has parts for the others that cost the server more than the rest of a small one.
--
-- Guarantee: that of `claim`. If it meets another item it writes nothing and says so; `claim` follows.
-- Answer:    the rows, or one that stands for none; beside each how many were picked, null if one of them is special.
-- Order, index: those of `claim`.
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
