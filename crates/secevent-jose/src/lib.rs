//! How a Security Event Token is signed and checked: compact JWS, JWK sets and key rings
