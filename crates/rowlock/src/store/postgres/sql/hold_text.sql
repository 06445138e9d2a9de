-- hold_text: fails if the database's encoding cannot hold the text.
--
-- Binds: $1 the text
select length($1::text) as characters
