-- is_utf8: whether a key of text is UTF-8, at which SQLite does not look. A part of what says what an item is.
-- Most keys are of printable ASCII, which costs little to see. Of the others each character is read and written again:
-- bytes that are none come back as others. (The two that are read as the sign for what is unreadable are named.)
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
