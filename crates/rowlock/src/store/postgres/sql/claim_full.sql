-- claim_full: `claim_plain` of a full queue: without what others are at, and from where the last one ended.
--
-- Guarantee: that of `claim`.
-- Answer:    the rows, as they are written: kept and joined with a tally they would be copied twice. So nothing comes where
--            nothing was picked as well as where something special was; `claim` follows.
-- Order, index: those of `claim`.
-- Binds:     $1 to $9 as in claim_plain   $10 from where on, or null
with
:snapshot,
:pick_plain
:take_plain,
  (select n from picked) as rowlock_picked
