-- refuse_writes: writes nothing. On a read-only connection SQLite refuses it, so that a verb that would find nothing to
-- write is refused too.
update :table as t set :"status" = t.:"status" where false
