-- copy_keys: the quick way of add_many, for keys of which none exists yet.
--
-- Guarantee: all keys of a call, or none. One that exists is an error, and then they go by `add_many.sql`.
-- Binds:     none; the keys follow in COPY's text format
copy :table (:"key") from stdin
