-- How deliveries ended, and what was tried. This file is never edited: a change is another file.

-- What became of an event's deliveries, by stream: entries as in `outcomes.rs`. An entry has its full length from the
-- beginning, so that writing it changes the row in its place. None for events of older steps.
ALTER TABLE needed ADD COLUMN outcomes BLOB;

-- The last attempts that failed: entries of eleven bytes, none if there was none.
ALTER TABLE deliveries ADD COLUMN tried BLOB;
