//! The rules that every store keeps.

use crate::durability::temporary;

secevent_store::conformance!(async || temporary());
