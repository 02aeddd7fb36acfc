-- Which subjects a stream is about. This file is never edited: a change is another file.

CREATE TABLE subjects (
    stream      INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,          -- 16 bytes
    standing    INTEGER NOT NULL,       -- 0 added, 1 removed, 2 removed after it had been added
    removed_at  INTEGER,                -- microseconds since 1970
    verified    INTEGER NOT NULL,
    compound    INTEGER NOT NULL,       -- 1 for alias lists and complex subjects
    subject     BLOB NOT NULL,          -- its canonical form
    PRIMARY KEY (stream, fingerprint)
) STRICT, WITHOUT ROWID;

-- The few that a start reads also of streams whose subjects are too many to be held in memory.
CREATE INDEX subjects_compound ON subjects (stream, fingerprint) WHERE compound = 1;

-- How many a stream has, so that nobody has to count them.
CREATE TABLE subject_counts (
    stream      INTEGER PRIMARY KEY,
    entries     INTEGER NOT NULL
) STRICT;
