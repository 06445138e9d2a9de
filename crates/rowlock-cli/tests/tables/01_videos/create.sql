create table videos (
  id serial primary key,
  user_id integer not null,
  filename varchar(255) not null,
  video_url text not null,
  thumbnail_url text,
  duration float8,
  status varchar(50) not null default 'pending_upload',
  created_at timestamp not null default now(),
  processed_at timestamp,
  s3_key varchar(512),
  visibility varchar(20) not null default 'public',
  event_type varchar(50),
  event_id integer,
  latitude float8,
  longitude float8,
  recorded_at timestamp,
  width integer,
  height integer,
  updated_at timestamp not null default now(),
  deleted_at timestamp,
  act_id integer,
  song_id integer,
  thumbnail_status text,
  detection_status text,
  thumbnail_processing_started_at timestamptz
);
create index videos_status on videos (status);
create index videos_thumbnails on videos (created_at, id) where thumbnail_status = 'queued' and deleted_at is null;
