-- What is odd about a video that succeeded all the same: "decoded 6.0 of 12.0 s".
alter table video_details add column if not exists note text;

-- A video is known by its path: its id may have been made by an earlier version, or by somebody else. By hash, because a
-- path may be longer than an ordinary index takes.
create index if not exists video_processing_path on video_processing using hash (path);
