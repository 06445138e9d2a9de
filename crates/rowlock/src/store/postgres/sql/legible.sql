-- legible: rows without bytes that are no UTF-8. A database whose encoding is SQL_ASCII takes any bytes, and gives none of them
-- away to a connection that speaks UTF-8: the whole answer fails. A part of the forms of list and preview that follow then.
--
-- By the digits of the bytes of the whole row as text, for the server has no function that only asks.
  and (getdatabaseencoding() <> 'SQL_ASCII' or encode(convert_to((t.*)::text, 'SQL_ASCII'), 'hex') ~ :legible_hex)
