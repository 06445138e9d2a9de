-- is_utf8: whether a text key is valid UTF-8, which SQLite does not check. A part of the definition of an item. Most
-- keys are printable ASCII, which is cheap to see. Of the others it decodes and encodes each character: invalid bytes
-- come back as other ones. (Two valid characters that SQLite decodes as the sign for invalid bytes are excepted.)
(
  t.:"key" not glob '*[^ -~]*'
  or not exists (
    with recursive place (one, rest) as (
      select substr(t.:"key", 1, 1), substr(t.:"key", 2)
      union all
      select substr(place.rest, 1, 1), substr(place.rest, 2)
      from place
      where place.rest <> ''
    )
    select 1
    from place
    where char(unicode(place.one)) is not place.one
      and place.one not in (cast(x'efbfbe' as text), cast(x'efbfbf' as text))
  )
)
