-- by_place: selects rows by the places at which `pick_locked` or `pick_stale` locked them earlier in the same
-- transaction. A bad row may break every other way to find it: its key may not be valid text on this connection, or may
-- be out of range of the pipeline's key type. A place names the partition too, because rows of different partitions
-- have the same ctid. A part of the statements that try or end the parts of a batch.
--
-- Binds: :places, as those two return them
  t.ctid = any (array(select split_part(place, ' ', 2)::tid from unnest(:places) as given (place)))
  and concat(t.tableoid, ' ', t.ctid) = any (:places)
