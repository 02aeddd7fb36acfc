-- Who changed what. This file is never edited: a change is another file.

-- In the order in which the changes were entered. A place is never given twice.
CREATE TABLE audit (
    place       INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,       -- microseconds since 1970
    actor       TEXT NOT NULL,
    actor_id    TEXT,
    action      TEXT NOT NULL,
    object      TEXT NOT NULL,
    client      TEXT,
    stream      TEXT,
    request     TEXT,
    was         TEXT,                   -- JSON, without secrets
    becomes     TEXT
) STRICT;
