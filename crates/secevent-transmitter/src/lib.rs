//! Events out: a transmitter accepts events, records them with the SETs that they are owed as, signs, and
//! delivers by push (RFC 8935) and poll (RFC 8936).
//!
//! An event's way, each step in a module of its own:
//!
//! 1. *Accept*: the event is checked against its type's definition.
//! 2. *Match*: a look-up by type and subject tells to which streams it is owed; no scan, and no call to the store
//!    unless a stream has more subjects than memory has room for.
//! 3. *Record*: one commit keeps the event and a delivery for each of those streams. Only now is its
//!    producer told.
//! 4. *Render and sign*: when a delivery is sent, its claims follow from what was recorded, and the issuer's
//!    current key signs them.
//! 5. *Deliver*: pushed inside the stream's window, or handed to whoever polls; never two at once about one
//!    subject of one stream, and never out of the order of acceptance.
//! 6. *Settle*: an acceptance closes the delivery, a refusal closes it as rejected; trouble with the receiver
//!    is the stream's trouble, which rests, is probed and goes on.
//!
//! The crate sees ports alone ([`secevent_store::Store`], [`secevent_ssf::Transport`], [`secevent::Clock`]):
//! which database, which network and which clock stand behind them is decided by the program.
//!
//! The promise is *at least once, in order per subject*.

mod accept;
mod activity;
mod age;
mod ahead;
mod audit;
mod clients;
mod config;
mod counts;
mod declared;
mod erase;
mod expiry_clock;
mod explain;
mod figures;
mod issuer;
mod keys;
mod manage;
mod names;
mod operate;
mod outgoing;
mod pace;
mod poll;
mod push;
mod recover;
mod render;
mod retry;
mod share;
mod sign;
mod status;
mod stream;
mod subjects;
mod superseded;
mod table;
mod transmitter;
mod window;

pub use accept::{AcceptError, Accepted, Incoming};
pub use audit::{Acting, Actor, Changed};
pub use config::{
    BacklogLimits, Ending, Inactivity, Overflow, PollOptions, PollOrder, PollRules, TransmitterConfig,
};
pub use declared::{DeclaredChange, DeclaredStream, Reconciled};
pub use erase::{Amounts, EraseError, Erasure, ErasureState, Left};
pub use expiry_clock::ClockState;
pub use explain::{DeliveryState, Explained, Rule, Stories, Story, Told, Waits};
pub use figures::{Figures, LastChange, NotReady, StreamDetails, StreamFigures, Suspension};
pub use issuer::{IssuerConfig, in_one_place};
pub use keys::{KeyState, KeyView, KeysError, NewKey, RotateAt};
pub use manage::{Client, ManageError};
pub use names::NameError;
pub use operate::{Retried, RetryError};
pub use poll::PollError;
pub use recover::{DeadLetter, Preview, RecoverError, Redriven, Replay, ReplayRequest, ReplayState};
pub use render::RenderedAs;
pub use retry::{Outcome, RetryPolicy, Sent, Trouble, TroubleKind, classify};
pub use subjects::SubjectLimits;
pub use transmitter::{NoTransport, Transmitter, TransmitterError};
