-- left_out: the keys that a claim or a sweep leaves out. A part of ready_rows and of stale.
--
-- They are compared as text, because one of them may be out of range of the key's type. A key whose bytes are not valid
-- text is compared in the form in which it is shown. If no key is to be left out, no key is converted to text.
--
-- Binds: :keys_to_leave_out, or null
        (
          :keys_to_leave_out is null
          or t.:"key"::text <> all (:keys_to_leave_out)
          and (
            getdatabaseencoding() <> 'SQL_ASCII'
            or concat('\x', encode(convert_to(t.:"key"::text, 'SQL_ASCII'), 'hex')) <> all (:keys_to_leave_out)
          )
        )
