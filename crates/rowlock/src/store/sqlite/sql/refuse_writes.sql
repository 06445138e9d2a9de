-- refuse_writes: writes nothing. On a connection that may only read SQLite refuses it, so that a verb that would find
-- nothing to write is refused too.
update :table set :"status" = :"status" where false
