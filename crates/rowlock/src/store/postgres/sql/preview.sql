-- preview: the items that a claim would return now. It writes and locks nothing.
--
-- Forms: `preview`. `preview_legible` leaves out rows whose bytes are not valid UTF-8; it follows where `preview` meets
--        one (see list.sql).
-- Index: that of claim.sql, whose pick this is, then the key's.
-- Binds: $1 to $9 as in claim.sql
with
:pick
select
  t.*,
  t.:"key"::text as rowlock_key,
  t.:"status" as rowlock_word,
  t.:"claim_token" as rowlock_token
from :table t
where t.:"key" = any (array(select key from chosen where not exhausted))
  \if :legible
  and (getdatabaseencoding() <> 'SQL_ASCII' or encode(convert_to((t.*)::text, 'SQL_ASCII'), 'hex') ~ :legible_hex)
  \endif
order by :position_of_ready, :queue_order
