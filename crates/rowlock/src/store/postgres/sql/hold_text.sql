-- hold_text: fails for a text that the encoding of the database cannot hold.
--
-- Binds: $1 the text
select length($1::text) as characters
