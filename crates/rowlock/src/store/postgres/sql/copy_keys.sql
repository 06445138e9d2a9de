-- copy_keys: the fast path of add_many, for keys none of which exists yet.
--
-- Guarantee: all keys of a call are added, or none. A key that exists is an error; `add_many.sql` follows.
-- Binds:     none; the keys follow in COPY's text format
copy :table (:"key") from stdin
