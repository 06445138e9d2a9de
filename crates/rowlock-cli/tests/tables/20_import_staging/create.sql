create table "importStagingBookmarks" (
  "id" text primary key,
  "importSessionId" text not null,
  "type" text not null,
  "url" text,
  "title" text,
  "content" text,
  "note" text,
  "tags" text,
  "listIds" text,
  "sourceAddedAt" integer,
  "archived" integer,
  "status" text not null default 'pending',
  "processingStartedAt" integer,
  "result" text,
  "resultReason" text,
  "resultBookmarkId" text,
  "createdAt" integer not null,
  "completedAt" integer
);
create index importStaging_session on "importStagingBookmarks" ("importSessionId", "status");
create index importStaging_status on "importStagingBookmarks" ("status");
create index importStaging_started on "importStagingBookmarks" ("status", "processingStartedAt");
