//! The streams in memory, and the index that tells to which of them an event is owed.

use crate::activity::Activity;
use crate::config::{PollOrder, PollRules};
use crate::counts::Counts;
use crate::outgoing::Outgoing;
use crate::pace::Pace;
use crate::stream::{NoPushTarget, PushTarget, Stream, Target};
use crate::subjects::SubjectSet;
use crate::superseded::NewestControl;
use secevent_ssf::Status;
use secevent_store::{Queue, Settlement, StreamNumber, Vault, Version};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tokio::sync::Notify;

/// All streams of one transmitter. Locks are held for a look-up, never across a wait.
#[derive(Debug, Default)]
pub(crate) struct Table {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<String, Arc<Entry>>,
    by_number: HashMap<StreamNumber, Arc<Entry>>,
    by_client: HashMap<String, BTreeSet<StreamNumber>>,
    /// Issuer, then event type, to the streams that get it: events are matched by look-up, never by a scan.
    by_event: HashMap<String, HashMap<String, BTreeSet<StreamNumber>>>,
}

/// One stream: its settings, what it has to send, and the bell that says that something changed.
#[derive(Debug)]
pub(crate) struct Entry {
    settings: RwLock<Arc<Settings>>,
    outgoing: Mutex<Outgoing>,
    /// Which subjects it is about, as far as that was said.
    pub(crate) subjects: SubjectSet,
    /// Held while its settings are changed: who changes them meanwhile waits for his turn.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// What happened to it since this process started.
    pub(crate) counts: Counts,
    pub(crate) pace: Mutex<Pace>,
    /// What was heard of its receiver, and asked of it.
    pub(crate) activity: Activity,
    /// What its receiver has acknowledged by poll and is to be stored.
    pub(crate) settling: Mutex<Settling>,
    /// The newest events about the stream itself.
    pub(crate) newest_control: NewestControl,
    /// Whether its client is switched off.
    off: AtomicBool,
    /// Whether it is known to be owed as much as it may be.
    pub(crate) overflowing: AtomicBool,
    /// Rings when there is something to send, or when settings change.
    pub(crate) changed: Notify,
}

/// Settlements on their way to the store.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    pub(crate) waiting: Vec<Settlement>,
    pub(crate) under_way: bool,
}

impl Settling {
    /// With so many outcomes that the store does not have, a stream does not go on.
    pub(crate) const WAITING_MAX: usize = 10_000;
}

/// A stream's settings at one moment, with what follows from them.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) stream: Stream,
    /// The version of its document.
    pub(crate) version: Version,
    /// The event types that it gets, by URI.
    pub(crate) events_delivered: Vec<String>,
    /// How it is polled.
    pub(crate) polls: PollRules,
    /// Where it is pushed to, once that was asked for.
    target: OnceLock<Result<PushTarget, NoPushTarget>>,
}

impl Settings {
    pub(crate) fn new(
        stream: Stream,
        version: Version,
        events_delivered: Vec<String>,
        polls: PollRules,
    ) -> Self {
        Self { stream, version, events_delivered, polls, target: OnceLock::new() }
    }

    /// Whether what is owed in this queue is kept. A disabled stream keeps nothing but what it is told last.
    pub(crate) fn keep(&self, queue: Queue) -> bool {
        self.stream.status != Status::Disabled || (queue == Queue::Control && self.stream.untold)
    }

    /// Whether a poll's answer holds as many SETs about one subject as there are.
    pub(crate) fn is_batched(&self) -> bool {
        self.polls.order == PollOrder::Batched && matches!(self.stream.target, Target::Poll { .. })
    }

    /// Where to push to, and with which credential: opened once for as long as nobody changes it.
    pub(crate) fn push_target(&self, vault: &Vault) -> Result<&PushTarget, &NoPushTarget> {
        self.target.get_or_init(|| self.stream.push_target(vault)).as_ref()
    }
}

impl Entry {
    fn new(settings: Settings, window_max: usize) -> Self {
        let mut outgoing = Outgoing::new(window_max);
        outgoing.be_silent(settings.stream.is_silent());
        Self {
            settings: RwLock::new(Arc::new(settings)),
            outgoing: Mutex::new(outgoing),
            subjects: SubjectSet::default(),
            changing: tokio::sync::Mutex::default(),
            counts: Counts::default(),
            pace: Mutex::default(),
            activity: Activity::default(),
            settling: Mutex::default(),
            newest_control: NewestControl::default(),
            off: AtomicBool::new(false),
            overflowing: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Switches it off or on, with its client.
    pub(crate) fn switch(&self, on: bool) {
        self.off.store(!on, Ordering::SeqCst);
    }

    /// Whether its client is switched off: then it is owed and sent nothing, whatever its status.
    pub(crate) fn is_off(&self) -> bool {
        self.off.load(Ordering::SeqCst)
    }

    /// Whether it keeps what it is owed in this queue.
    pub(crate) fn keeps(&self, queue: Queue) -> bool {
        self.settings().keep(queue)
    }

    /// The next settlements to be stored. None ends the work of who asks: the next to come begins anew.
    pub(crate) fn next_to_settle(&self) -> Option<Vec<Settlement>> {
        let mut settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        settling.under_way = !settling.waiting.is_empty();
        settling.under_way.then(|| std::mem::take(&mut settling.waiting))
    }

    /// Whether so many settlements wait for the store that more must wait themselves.
    pub(crate) fn has_much_to_settle(&self) -> bool {
        let settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        settling.waiting.len() >= Settling::WAITING_MAX
    }

    /// Whether its receiver polls.
    pub(crate) fn is_polled(&self) -> bool {
        matches!(self.settings().stream.target, Target::Poll { .. })
    }

    /// What it has to send.
    pub(crate) fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes a stream in.
    pub(crate) fn insert(&self, settings: Settings, window_max: usize) -> Arc<Entry> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let (id, number) = (settings.stream.id.clone(), settings.stream.number());
        inner.index(&settings);
        inner.by_client.entry(settings.stream.client.clone()).or_default().insert(number);
        let entry = Arc::new(Entry::new(settings, window_max));
        inner.by_id.insert(id, Arc::clone(&entry));
        inner.by_number.insert(number, Arc::clone(&entry));
        entry
    }

    /// Gives a stream other settings. An event that is accepted from here on sees them.
    pub(crate) fn replace(&self, entry: &Entry, settings: Settings) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.unindex(&entry.settings());
        inner.index(&settings);
        *entry.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        entry.changed.notify_waiters();
    }

    /// Takes a stream out.
    pub(crate) fn remove(&self, entry: &Entry) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let settings = entry.settings();
        inner.unindex(&settings);
        inner.by_id.remove(&settings.stream.id);
        inner.by_number.remove(&settings.stream.number());
        if let Some(numbers) = inner.by_client.get_mut(&settings.stream.client) {
            numbers.remove(&settings.stream.number());
            if numbers.is_empty() {
                inner.by_client.remove(&settings.stream.client);
            }
        }
        entry.changed.notify_waiters();
    }

    /// Gives a stream that was taken out the settings that whoever still holds it is to see.
    pub(crate) fn stop(&self, entry: &Entry, settings: Settings) {
        *entry.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        entry.changed.notify_waiters();
    }

    /// Whether a stream was not taken out meanwhile.
    pub(crate) fn has(&self, entry: &Arc<Entry>) -> bool {
        self.by_number(entry.settings().stream.number()).is_some_and(|there| Arc::ptr_eq(&there, entry))
    }

    /// The stream of this identifier.
    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Entry>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// The stream of this number.
    pub(crate) fn by_number(&self, number: StreamNumber) -> Option<Arc<Entry>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).by_number.get(&number).cloned()
    }

    /// The streams of an issuer that an event of this type is owed to.
    pub(crate) fn matching(&self, issuer: &str, event: &str) -> Vec<Arc<Entry>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let numbers = inner.by_event.get(issuer).and_then(|events| events.get(event));
        let entries = numbers.into_iter().flatten().filter_map(|number| inner.by_number.get(number));
        entries.filter(|entry| !entry.is_off()).cloned().collect()
    }

    /// The streams of a client, of all issuers, in the order of their numbers.
    pub(crate) fn of_client(&self, client: &str) -> Vec<Arc<Entry>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let numbers = inner.by_client.get(client).into_iter().flatten();
        numbers.filter_map(|number| inner.by_number.get(number)).cloned().collect()
    }

    /// All streams, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut numbered: Vec<_> = inner.by_number.iter().collect();
        numbered.sort_unstable_by_key(|(number, _)| **number);
        numbered.into_iter().map(|(_, entry)| Arc::clone(entry)).collect()
    }
}

impl Inner {
    /// A paused stream is owed events for later, a disabled one is owed nothing (SSF 1.0 section 8.1.2.1).
    fn index(&mut self, settings: &Settings) {
        if settings.stream.status == Status::Disabled {
            return;
        }
        let events = self.by_event.entry(settings.stream.issuer.clone()).or_default();
        for event in &settings.events_delivered {
            events.entry(event.clone()).or_default().insert(settings.stream.number());
        }
    }

    fn unindex(&mut self, settings: &Settings) {
        let Some(events) = self.by_event.get_mut(&settings.stream.issuer) else { return };
        for event in &settings.events_delivered {
            if let Some(numbers) = events.get_mut(event) {
                numbers.remove(&settings.stream.number());
            }
        }
    }
}
