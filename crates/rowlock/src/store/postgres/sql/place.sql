-- place: where a locked row is, and its key; as bytes where the server gives away bytes that are no text. A part of pick_locked
-- and pick_stale, of the row `t`.
  concat(t.tableoid, ' ', t.ctid) as place,
  case when getdatabaseencoding() <> 'SQL_ASCII' then t.:"key"::text end as key,
  case when getdatabaseencoding() = 'SQL_ASCII' then convert_to(t.:"key"::text, 'SQL_ASCII') end as key_bytes
