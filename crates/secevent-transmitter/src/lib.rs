//! Events out: accept, match, record, sign, push and poll
