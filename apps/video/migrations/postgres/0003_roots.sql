-- The named folder in which a video was found: where that is gone or empty, its disk is not mounted, and no video is at fault.
alter table video_processing add column if not exists root text;
