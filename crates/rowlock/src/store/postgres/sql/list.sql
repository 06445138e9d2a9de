-- list: items by status, one page in the order of their keys.
--
-- Forms: `list`, for any word. `list_running` (`running`) for items in progress, and `list_stopped` (`stopped`) for
--        items that failed or were cancelled: they are few among many, and each have a partial index, whose predicate
--        must be in the statement.
--        Each `_legible` (`legible`) leaves out rows whose bytes are not valid UTF-8, and follows where the other form
--        meets one. A database with the encoding SQL_ASCII takes any bytes, but does not send such bytes to a
--        connection that speaks UTF-8: the whole answer fails. It compares the hexadecimal digits of the whole row as
--        text, because the server has no function that only checks.
-- Index: `list` reads the key's from the page before onwards until the page is full. If few of many items are ready, or
--        none succeeded, that may be the whole index. The verb's deadline applies.
--        `list_running`: the partial one over the words in progress; the result is sorted.
--        `list_stopped`: the partial one over the other words, on (status, key).
-- Binds: $1 word, or null for all   $2 the key before the page, or null   $3 limit
select
  t.*,
  t.:"key"::text as rowlock_key,
  t.:"status" as rowlock_word,
  t.:"claim_token" as rowlock_token
from :table t
where
  \if :running
  t.:"status" in (:running_words) and t.:"status" = $1::text
  \elif :stopped
  :is_stopped and t.:"status" = $1::text
  \else
  ($1::text is null or t.:"status" = $1::text)
  \endif
  and t.:"key" >= coalesce(($2::text):::key_type, :key_min)
  and ($2::text is null or t.:"key" <> ($2::text):::key_type)
  \if :legible
  and (getdatabaseencoding() <> 'SQL_ASCII' or encode(convert_to((t.*)::text, 'SQL_ASCII'), 'hex') ~ :legible_hex)
  \endif
order by t.:"key"
limit $3::bigint
