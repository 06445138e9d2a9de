create table legislature_videos (
  id serial primary key,
  video_id text not null,
  url text not null,
  title text,
  chamber text,
  session_type text,
  session_year integer,
  day_number integer,
  video_date date,
  part integer,
  time_of_day text,
  duration_seconds integer,
  source text,
  raw_text text,
  transcript text,
  summary text,
  status text default 'pending',
  claimed_by text,
  claimed_at timestamptz,
  error_message text,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
create index legislature_videos_status on legislature_videos (status);
create index legislature_videos_session on legislature_videos (chamber, session_year);
-- Mistake: row security without a policy for the workers' role, which then sees an empty queue.
alter table legislature_videos enable row level security;
