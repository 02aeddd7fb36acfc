//! Events in: discover, subscribe, verify, store, acknowledge, hand on.
//!
//! A *transmitter* knows that a session has ended, that a laptop was stolen, that an account was hijacked. It
//! says so with Security Event Tokens (SETs), which it pushes to us or lets us poll. This crate is the other
//! end of that line. It finds the transmitter, agrees with it on a stream, takes its SETs, and hands them to
//! your [`Handler`].
//!
//! # What is promised
//!
//! - A SET is acknowledged when it is *stored*, never before; and at once, however slow the handler is. What
//!   was acknowledged is handled, crash or no crash.
//! - The handler sees each SET *at least once, in order per subject*. Repeats are acknowledged and not handed
//!   on again; only a crash between the handler's effect and our note of it makes it see a SET twice.
//! - A SET that is not signed by the source's key, not from its issuer, not for us, or not well-formed is
//!   refused with the code that the standards have for it, and never reaches the handler.
//! - Everything is bounded: tokens, answers, retries, what is held in memory.
//!
//! # The nouns
//!
//! | | |
//! |---|---|
//! | [`Source`], [`Peer`] | where events come from; the transmitter behind it |
//! | [`Receiver`] | all sources together, running |
//! | [`PushEndpoint`] | where a transmitter pushes to; a server mounts it |
//! | [`Handler`] | what the application does with events |
//! | [`TransmitterClient`] | the client's side of stream management, also on its own |
//! | [`Discovery`], [`AuthorizationServer`] | where a transmitter tells of itself, and where its access tokens are given |
//! | [`SetVerifier`], [`JwksCache`] | whether a token is to be believed, also on their own |
//!
//! There is no socket, no database and no clock in here: those come in as [`Ports`].
//!
//! # An example
//!
//! A receiver that is pushed to, with a store in memory. The transmitter signs with a key that the receiver
//! finds at the source's `jwks_uri`; here both are at hand.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use secevent::{Claims, Clock, Profile, Set, Subject, Timestamp, caep::SessionRevoked};
//! use secevent_jose::{Algorithm, JwkSet, Signer, SigningKey};
//! use secevent_receiver::{HandleError, Handler, Ports, Receiver, ReceiverConfig, Source};
//! use secevent_ssf::{BoxFuture, DeliveryRequest, Transport, TransportError, push};
//! use secevent_store::{Epoch, MemoryStore};
//! use std::sync::Arc;
//! use tokio::sync::mpsc;
//!
//! # const NOW: Timestamp = Timestamp::from_seconds(1_900_000_000);
//! # struct Stopped;
//! # impl Clock for Stopped { fn now(&self) -> Timestamp { NOW } }
//! # struct Keys(String);
//! # impl Transport for Keys {
//! #     fn send(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
//! #         Box::pin(async { Ok(Response::new(self.0.clone().into())) })
//! #     }
//! # }
//! /// Tells whose sessions have ended.
//! struct EndSessions(mpsc::UnboundedSender<Subject>);
//!
//! impl Handler for EndSessions {
//!     fn handle<'a>(&'a self, set: &'a Set, _: &'a Source) -> BoxFuture<'a, Result<(), HandleError>> {
//!         Box::pin(async move {
//!             let subject = set.subject().expect("SSF asks for one").into_owned();
//!             self.0.send(subject).map_err(|error| HandleError::Later(error.to_string()))
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = Signer::new(SigningKey::generate(Algorithm::EdDsa)?, Signer::SECURITY_EVENT);
//! # let transport = Arc::new(Keys(JwkSet::new([key.key().public().clone()]).to_json()));
//! # let store = Arc::new(MemoryStore::new(Epoch(1)));
//! # let (inbox, documents, clock) = (store.clone(), store, Arc::new(Stopped));
//! let delivery = DeliveryRequest::push("https://rp.example/receive/idp".parse()?, None);
//! let mut source = Source::new("idp", "https://idp.example".parse()?, delivery);
//! source.audiences = vec!["https://rp.example".to_owned()];
//! source.keys_at = Some("https://idp.example/jwks.json".parse()?);
//!
//! let (ended, mut sessions) = mpsc::unbounded_channel();
//! let config = ReceiverConfig { sources: vec![source], ..ReceiverConfig::default() };
//! let ports = Ports { transport, inbox, documents, clock };
//! let receiver = Receiver::start(config, ports, Arc::new(EndSessions(ended))).await?;
//!
//! // The transmitter's side: a SET, signed and pushed.
//! let mut claims = Claims::new("https://idp.example", "Zs3x1a", NOW);
//! claims.aud = Some("https://rp.example".into());
//! claims.txn = Some("8675309".to_owned());
//! claims.sub_id = Some(Subject::email("alice@example.com")?);
//! let set = claims.with_event(&SessionRevoked::default())?.prove(Profile::Ssf)?;
//! let token = key.sign(set.as_json().as_bytes())?;
//! let request = push::request(&"https://rp.example/receive/idp".parse()?, token, None);
//!
//! let response = receiver.push_endpoint("idp").unwrap().handle(request).await;
//! assert_eq!(response.status(), 202);
//! assert_eq!(sessions.recv().await.unwrap(), Subject::email("alice@example.com")?);
//! receiver.stop().await;
//! # Ok(())
//! # }
//! ```

mod authority;
mod authorization;
mod counts;
mod credentials;
mod discovery;
mod handle;
mod intake;
mod jwks;
mod log_limit;
mod one_at_a_time;
mod poll;
mod push;
mod reason;
mod receiver;
mod retry;
mod source;
mod transmitter;
mod verification;
mod verify;

pub use authority::Authority;
pub use authorization::{AuthorizationServer, Purpose};
pub use counts::Counts;
pub use credentials::Credentials;
pub use discovery::Discovery;
pub use handle::{HandleError, Handler, HandlingSettings};
pub use jwks::{Arrival, JwksCache, KeyFigures, KeysUnavailable, Locate, NotVerified};
pub use log_limit::LogLimit;
pub use poll::PollSettings;
pub use push::{PushEndpoint, Unauthenticated};
pub use reason::Reason;
pub use receiver::{Ports, Receiver, ReceiverConfig, StartError, SubscribeError, Subscription};
pub use retry::RetryPolicy;
pub use source::{Peer, Source};
pub use transmitter::{Answer, ClientError, PushCredential, TransmitterClient};
pub use verify::{ReceiveError, SetVerifier, Verified};

/// Waits until we are to stop; also when nobody is left who could say so.
async fn stopped(stop: &mut tokio::sync::watch::Receiver<bool>) {
    // An error means that the sender is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
