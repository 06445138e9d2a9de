create domain step_word as text check (value in ('new', 'busy', 'good', 'bad', 'off'));
create table measurements (
  code text primary key,
  step step_word not null default 'new',
  value double precision,
  reason text,
  tries integer not null default 0,
  begun timestamptz,
  made timestamptz not null default now(),
  -- Mistake: a row CHECK that ties the status to another column: an update of the status alone is refused.
  constraint bad_has_a_reason check ((step = 'bad') = (reason is not null))
);
create index measurements_new on measurements (made) where step = 'new';
