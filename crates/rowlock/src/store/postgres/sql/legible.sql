-- legible: leaves out rows whose bytes are not valid UTF-8. A database with the encoding SQL_ASCII takes any bytes, but
-- does not send such bytes to a connection that speaks UTF-8: the whole answer fails. A part of the forms of list and
-- preview that follow then.
--
-- It compares the hexadecimal digits of the whole row as text, because the server has no function that only checks.
  and (getdatabaseencoding() <> 'SQL_ASCII' or encode(convert_to((t.*)::text, 'SQL_ASCII'), 'hex') ~ :legible_hex)
