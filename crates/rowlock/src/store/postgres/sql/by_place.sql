-- by_place: the rows that `pick_locked` or `pick_stale` has locked and named, in the same transaction. By their places in the
-- table, for a row may break whatever else could find it: a key that is no text of the connection's, or beyond the pipeline's
-- key type. Shared by what tries and ends the parts of a batch. The partition is named as well: others have the same places.
--
-- Binds: :places, as those two return them
  t.ctid = any (array(select split_part(place, ' ', 2)::tid from unnest(:places) as given (place)))
  and concat(t.tableoid, ' ', t.ctid) = any (:places)
