-- left_out: which keys a claim or a sweep leaves out. A part of ready_rows and of stale.
--
-- They are compared as text, for one of them may be beyond the key's type, and one that is no text by its bytes, as it is shown.
-- Where there is none, no key is made a text.
-- Binds: :keys_to_leave_out, or null
        (
          :keys_to_leave_out is null
          or t.:"key"::text <> all (:keys_to_leave_out)
          and (
            getdatabaseencoding() <> 'SQL_ASCII'
            or concat('\x', encode(convert_to(t.:"key"::text, 'SQL_ASCII'), 'hex')) <> all (:keys_to_leave_out)
          )
        )
