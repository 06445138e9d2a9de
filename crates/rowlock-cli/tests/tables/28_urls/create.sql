create table urls (
  id text primary key,
  value text not null unique,
  via text not null default '',
  hops integer not null default 0,
  status text not null default 'FRESH' check (status in ('FRESH', 'CLAIMED', 'DONE')),
  timestamp integer not null default (strftime('%s', 'now'))
);
create index urls_status on urls (status);
