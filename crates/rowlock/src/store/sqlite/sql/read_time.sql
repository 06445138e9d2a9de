-- read_time: a time of a text column as Rowlock reads it: text that sorts as the time does. A part of the ready index
-- and of everything that uses it, so that both always agree.
--
-- What Rowlock writes is taken as it is. It also reads ISO with `T` or a blank, with `Z`, an offset (`+02:00`, `+0200`,
-- and `+02` as PostgreSQL writes it) or neither (UTC), and any number of decimals, of which three count. Null stays
-- null. Everything else is 'never', which sorts after every time: nothing is due at an unreadable time.
--
-- Whichever SQLite writes the row evaluates it, and each must get the same result. So it uses functions that are as old
-- as SQLite's times, and passes no fraction of a second through them, because versions have rounded it differently.
-- (`unixepoch` and its 'subsec' are shorter, but null or an error in versions that are in use.) Nor may it meet 'now',
-- which makes an index fail.
case
  when :own_time then :column
  when :column is null then null
  when typeof(:column) <> 'text' or :column not glob '????-??-??*' then 'never'
  when :column glob '*:*[+-]??' then coalesce(
    case when julianday(:column || ':00') is not null
      then strftime('%Y-%m-%dT%H:%M:%S', julianday(substr(:column, 1, 19) || substr(:column, -3) || ':00'))
    end || substr(:column, 20, max(0, min(4, length(:column) - 22))),
    'never'
  )
  when :column glob '*:*[+-]????' then coalesce(
    case when julianday(substr(:column, 1, length(:column) - 2) || ':' || substr(:column, -2)) is not null
      then strftime(
        '%Y-%m-%dT%H:%M:%S', julianday(substr(:column, 1, 19) || substr(:column, -5, 3) || ':' || substr(:column, -2))
      )
    end || substr(:column, 20, max(0, min(4, length(:column) - 24))),
    'never'
  )
  when julianday(:column) is null then 'never'
  when :column glob '*[+-]??:??' then coalesce(
    strftime('%Y-%m-%dT%H:%M:%S', julianday(substr(:column, 1, 19) || substr(:column, -6)))
      || substr(:column, 20, max(0, min(4, length(:column) - 25))),
    'never'
  )
  else coalesce(
    strftime('%Y-%m-%dT%H:%M:%S', julianday(substr(:column, 1, 19))) || rtrim(substr(:column, 20, 4), 'Zz '),
    'never'
  )
end
