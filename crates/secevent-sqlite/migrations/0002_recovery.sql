-- Delivering again, what a stream's history was, and how much is owed. This file is never edited: a change is
-- another file. Queue 2, beside those of step 1, is what is delivered again.

-- To which streams' regular queues an event was owed at first: stream and rendering, four bytes each, little-endian.
-- None for events of step 1, and for those that nobody was owed.
ALTER TABLE events ADD COLUMN owed BLOB;

-- The identifier's generation; the body's length, so that sums need no look at the events; and the signature that
-- was sent, if one was stored.
ALTER TABLE deliveries ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN signed BLOB;
UPDATE deliveries SET bytes =
    coalesce((SELECT length(body) FROM events WHERE events.sequence = deliveries.sequence), 0);

-- The delivery as it was, and when it ended: by that the dead are forgotten. Of those of step 1 only the time of
-- acceptance is known.
ALTER TABLE dead ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN due_at INTEGER;
ALTER TABLE dead ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN signed BLOB;
ALTER TABLE dead ADD COLUMN died_at INTEGER NOT NULL DEFAULT 0;
UPDATE dead SET (bytes, died_at) = (SELECT length(body), accepted_at FROM events WHERE events.sequence = dead.sequence)
    WHERE sequence IN (SELECT sequence FROM events);
CREATE INDEX dead_by_age ON dead (died_at);

ALTER TABLE tallies ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;

-- The filters of runs, so that a start need not make them anew. Runs of step 1 have none.
CREATE TABLE run_filters (
    guard   INTEGER NOT NULL,
    run     INTEGER NOT NULL,
    filter  BLOB NOT NULL,              -- blocks of 64 bytes, words little-endian
    PRIMARY KEY (guard, run)
) STRICT;
