-- Ways into the log of changes, and signatures that must not be sent any more. This file is never edited: a change is
-- another file.

-- By that old changes are found without reading the log. Clocks step back, so places do not tell.
CREATE INDEX audit_by_age ON audit (at);
-- What a client or a stream has been through. Those that concern neither are in no index.
CREATE INDEX audit_by_client ON audit (client) WHERE client IS NOT NULL;
CREATE INDEX audit_by_stream ON audit (stream) WHERE stream IS NOT NULL;

-- Before a jti began with a letter it was another one for the same delivery. What was signed then names that one, and an
-- answer to it would not be understood: it is signed anew, with the same claims but for the jti.
UPDATE deliveries SET signed = NULL WHERE signed IS NOT NULL;
UPDATE dead SET signed = NULL WHERE signed IS NOT NULL;
