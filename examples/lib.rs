//! Nothing of its own: the programs beside this file are the examples, and cargo asks a package for a target of
//! another kind.
