-- What a store of secevent keeps. This file is never edited: a change is another file.

-- Counters and marks, each a number.
CREATE TABLE meta (
    key     TEXT PRIMARY KEY,
    value   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The lives of the writer, each with the first sequence that it gave (SEM-1).
CREATE TABLE epochs (
    first_sequence  INTEGER PRIMARY KEY,
    epoch           INTEGER NOT NULL
) STRICT;

-- Events, in the order of acceptance. The newest row is never trimmed: sequences go on from it.
CREATE TABLE events (
    sequence    INTEGER PRIMARY KEY,
    epoch       INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,       -- microseconds since 1970
    deliveries  INTEGER NOT NULL,       -- to how many streams it was owed at first
    lanes       BLOB NOT NULL,          -- fingerprints, eight bytes each, little-endian
    scope       TEXT,                   -- whose name for it `key` is, if it has one
    key         TEXT,
    digest      BLOB,
    body        BLOB NOT NULL
) STRICT;

-- How many deliveries, owed or dead, still need the body of an event. It is apart from the event because it
-- changes with each settlement: an update here rewrites one page for some five hundred events, not for six.
CREATE TABLE needed (
    sequence    INTEGER PRIMARY KEY,
    deliveries  INTEGER NOT NULL
) STRICT;

-- What is owed. A settled delivery has no row.
CREATE TABLE deliveries (
    stream      INTEGER NOT NULL,
    queue       INTEGER NOT NULL,       -- 0 control, 1 regular
    sequence    INTEGER NOT NULL,
    rendering   INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    due_at      INTEGER,                -- none until it was attempted
    PRIMARY KEY (stream, queue, sequence)
) STRICT, WITHOUT ROWID;

-- What was refused for good or given up.
CREATE TABLE dead (
    stream      INTEGER NOT NULL,
    queue       INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    rendering   INTEGER NOT NULL,
    verdict     INTEGER NOT NULL,       -- 0 rejected, 1 abandoned
    reason      TEXT NOT NULL,
    PRIMARY KEY (stream, queue, sequence)
) STRICT, WITHOUT ROWID;

-- How many deliveries of a stream ever were.
CREATE TABLE tallies (
    stream      INTEGER PRIMARY KEY,
    rejected    INTEGER NOT NULL,
    abandoned   INTEGER NOT NULL
) STRICT;

CREATE TABLE documents (
    name    TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;

-- Received SETs that wait for their handler, in order of arrival.
CREATE TABLE inbox (
    place       INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    iss         TEXT NOT NULL,
    jti         TEXT NOT NULL,
    digest      BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    token       BLOB NOT NULL
) STRICT;

-- Received SETs that no handler could take.
CREATE TABLE inbox_dead (
    place       INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    iss         TEXT NOT NULL,
    jti         TEXT NOT NULL,
    digest      BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    token       BLOB NOT NULL
) STRICT;

-- Identifiers of SETs that came before (SEM-18). The newest row is never forgotten: places go on from it.
CREATE TABLE seen (
    place       INTEGER PRIMARY KEY,
    iss         TEXT NOT NULL,
    jti         TEXT NOT NULL,
    digest      BLOB NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

-- Sorted runs of fingerprints: where to look for a name (guard 0: events) or an identifier (guard 1: seen).
CREATE TABLE runs (
    guard   INTEGER NOT NULL,
    run     INTEGER NOT NULL,
    newest  INTEGER NOT NULL,           -- the time of its newest entry, in microseconds since 1970
    PRIMARY KEY (guard, run)
) STRICT, WITHOUT ROWID;

-- A run in 256 parts by the first byte of the fingerprint; the id is guard, run and part in one number.
-- Entries of 14 bytes: the fingerprint and the row's number, big-endian.
CREATE TABLE run_parts (
    id      INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
) STRICT;
