-- place: the place of a locked row, and its key; as bytes in a database with the encoding SQL_ASCII, which does not
-- send bytes that are not valid text. A part of pick_locked and pick_stale, for the row `t`.
  concat(t.tableoid, ' ', t.ctid) as place,
  case when getdatabaseencoding() <> 'SQL_ASCII' then t.:"key"::text end as key,
  case when getdatabaseencoding() = 'SQL_ASCII' then convert_to(t.:"key"::text, 'SQL_ASCII') end as key_bytes
