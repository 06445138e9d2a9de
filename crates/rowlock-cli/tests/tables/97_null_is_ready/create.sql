create table pages (
  url text not null primary key,
  fetched text check (fetched in ('now', 'yes', 'no')),
  since text,
  title text,
  rank integer
) without rowid;
