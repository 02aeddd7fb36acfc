//! The secevent store in one SQLite file
