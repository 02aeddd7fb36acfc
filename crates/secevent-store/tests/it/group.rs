//! The group writer: groups grow by themselves, nothing hangs, nothing accepted is lost (SEM-13).

use secevent::Timestamp;
use secevent_store::{
    Commit, CommitFigures, CommitObserver, Delivery, DropReason, Epoch, GroupCommit, GroupLimits, Keep,
    NewEvent, Owed, Queue, Receipt, Received, Recorded, Rendering, Sequence, Settlement, StoreError,
    StreamNumber, Verdict, Version, Write, Written,
};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn what_arrives_during_a_commit_is_committed_together() {
    let (writer, disk) = open(GroupLimits::default());
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let rest: Vec<_> = (1..=100).map(|body| writer.record(vec![event(body)])).collect();
    disk.finish(Ok(()));
    disk.begin();
    disk.finish(Ok(()));
    first.await.unwrap();
    for (place, call) in (2..).zip(rest) {
        assert_eq!(call.await, Ok(vec![Recorded::New { epoch: Epoch(1), sequence: Sequence(place) }]));
    }
    assert_eq!(disk.groups(), [1, 100]);
}

#[tokio::test]
async fn a_group_is_bounded() {
    let (writer, disk) = open(GroupLimits { rows_max: 10, ..GroupLimits::default() });
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let small: Vec<_> = (0..25).map(|body| writer.record(vec![event(body)])).collect();
    let large = writer.record((0..50).map(event).collect());
    for _ in 0..4 {
        disk.finish(Ok(()));
        disk.begin();
    }
    disk.finish(Ok(()));
    assert_eq!(large.await.unwrap().len(), 50, "a call larger than a group is a group of its own");
    first.await.unwrap();
    for call in small {
        call.await.unwrap();
    }
    assert_eq!(disk.groups(), [1, 10, 10, 5, 1]);
}

/// A full queue refuses new work, never blocks, and still takes what finishes old work (SEM-9).
#[tokio::test]
async fn a_full_queue_refuses() {
    let (writer, disk) = open(GroupLimits { waiting_max: 3, ..GroupLimits::default() });
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let waiting: Vec<_> = (0..3).map(|body| writer.record(vec![event(body)])).collect();
    assert_eq!(writer.record(vec![event(0)]).await, Err(StoreError::Busy));
    assert_eq!(writer.receive(vec![set()]).await, Err(StoreError::Busy));
    let outcomes: Vec<_> = (0..3).map(|_| writer.settle(vec![acked()])).collect();
    assert_eq!(writer.settle(vec![acked()]).await, Err(StoreError::Busy));
    disk.finish(Ok(()));
    disk.begin();
    disk.finish(Ok(()));
    first.await.unwrap();
    for call in waiting {
        call.await.unwrap();
    }
    for outcome in outcomes {
        outcome.await.unwrap();
    }
    let again = writer.record(vec![event(0)]);
    disk.begin();
    disk.finish(Ok(()));
    again.await.unwrap();
}

#[tokio::test]
async fn waiting_bytes_are_bounded() {
    let (writer, disk) = open(GroupLimits { waiting_bytes_max: 10_000, ..GroupLimits::default() });
    let large = || vec![NewEvent { body: vec![0; 20_000].into(), ..event(0) }];
    let first = writer.record(large());
    disk.begin();
    let second = writer.record(large());
    assert_eq!(writer.record(vec![event(0)]).await, Err(StoreError::Busy));
    disk.finish(Ok(()));
    disk.begin();
    let third = writer.record(vec![event(0)]);
    disk.finish(Ok(()));
    disk.begin();
    disk.finish(Ok(()));
    for call in [first, second, third] {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_commit_fails_its_group_and_no_other() {
    let (writer, disk) = open(GroupLimits::default());
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let group = [writer.record(vec![event(1)]), writer.record(vec![event(2)])];
    disk.finish(Ok(()));
    disk.begin();
    let next = writer.record(vec![event(3)]);
    let full = StoreError::Unavailable("the disk is full".to_owned());
    disk.finish(Err(full.clone()));
    disk.begin();
    disk.finish(Ok(()));
    first.await.unwrap();
    for call in group {
        assert_eq!(call.await, Err(full.clone()));
    }
    next.await.unwrap();
}

#[tokio::test]
async fn one_refused_write_does_not_harm_its_group() {
    let (writer, disk) = open(GroupLimits::default());
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let (refused, taken) =
        (writer.put("refused", Version(1), None, None), writer.put("a", Version(0), None, None));
    disk.finish(Ok(()));
    disk.begin();
    disk.finish(Ok(()));
    first.await.unwrap();
    assert_eq!(refused.await, Err(StoreError::Conflict));
    assert_eq!(taken.await, Ok(Version(1)));
}

#[tokio::test]
async fn a_panic_leaves_nobody_waiting() {
    let (writer, disk) = open(GroupLimits::default());
    let doomed = writer.put("panic", Version(0), None, None);
    disk.begin();
    let behind = writer.record(vec![event(0)]);
    disk.finish(Ok(()));
    assert!(matches!(doomed.await, Err(StoreError::Unavailable(_))));
    assert!(matches!(behind.await, Err(StoreError::Unavailable(_))));
    assert!(matches!(writer.settle(vec![acked()]).await, Err(StoreError::Unavailable(_))));
}

/// Outcomes reach the disk within a moment though nothing else happens (SEM-13).
#[tokio::test]
async fn outcomes_are_flushed_without_other_traffic() {
    let (writer, disk) = open(GroupLimits::default());
    let flush = || {
        disk.begin();
        disk.finish(Ok(()));
    };
    let outcome = writer.settle(vec![acked()]);
    flush();
    outcome.await.unwrap();
    let handled = writer.handled(vec![1]);
    flush();
    handled.await.unwrap();
    let trimmed = writer.trim(Keep { history: Timestamp::default(), dead: Timestamp::default() });
    flush();
    assert_eq!(trimmed.await, Ok(false));
}

/// A step that is one of many does not wait for company: a drained store gets its space back soon.
#[test]
fn only_outcomes_wait_for_company() {
    let keep = Keep { history: Timestamp::default(), dead: Timestamp::default() };
    for write in
        [Write::Settle(vec![acked()]), Write::Handled(vec![1]), Write::Failed { place: 1, dead: false }]
    {
        assert!(write.is_lazy(), "{write:?}");
    }
    for write in [Write::Trim(keep), Write::Forget(keep.history), Write::Record(vec![event(0)])] {
        assert!(!write.is_lazy(), "{write:?}");
    }
}

/// Whoever watches the store sees how much is committed together, what fails and how long it takes.
#[tokio::test]
async fn groups_are_counted() {
    let (writer, disk) = open(GroupLimits::default());
    assert_eq!(writer.figures(), CommitFigures::default());
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let rest: Vec<_> = (1..=4).map(|body| writer.record(vec![event(body); 3])).collect();
    disk.finish(Ok(()));
    disk.begin();
    let failing = writer.record(vec![event(5)]);
    disk.finish(Ok(()));
    first.await.unwrap();
    for call in rest {
        call.await.unwrap();
    }
    disk.begin();
    let before = writer.figures();
    assert_eq!((before.groups, before.calls, before.failed), (2, 5, 0));
    disk.finish(Err(StoreError::Unavailable(String::new())));
    failing.await.unwrap_err();
    let after = writer.figures();
    assert_eq!((after.groups, after.calls, after.failed), (2, 5, 1));
    assert!(after.time > before.time && before.time > std::time::Duration::ZERO, "{before:?} {after:?}");
}

#[tokio::test]
async fn outcomes_ride_with_the_next_event() {
    let (writer, disk) = open(GroupLimits::default());
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let outcomes = [writer.settle(vec![acked()]), writer.settle(vec![acked()])];
    let next = writer.record(vec![event(1)]);
    disk.finish(Ok(()));
    disk.begin();
    disk.finish(Ok(()));
    first.await.unwrap();
    next.await.unwrap();
    for outcome in outcomes {
        outcome.await.unwrap();
    }
    assert_eq!(disk.groups(), [1, 3]);
}

#[tokio::test]
async fn a_group_of_outcomes_is_bounded_too() {
    let (writer, disk) = open(GroupLimits { rows_max: 4, ..GroupLimits::default() });
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let outcomes: Vec<_> = (0..8).map(|_| writer.settle(vec![acked()])).collect();
    for _ in 0..2 {
        disk.finish(Ok(()));
        disk.begin();
    }
    disk.finish(Ok(()));
    first.await.unwrap();
    for outcome in outcomes {
        outcome.await.unwrap();
    }
    assert_eq!(disk.groups(), [1, 4, 4]);
}

#[tokio::test]
async fn closing_commits_what_was_taken_on() {
    let (writer, disk) = open(GroupLimits::default());
    let first = writer.record(vec![event(0)]);
    disk.begin();
    let (event, outcome) = (writer.record(vec![event(1)]), writer.settle(vec![acked()]));
    let closing = std::thread::spawn(move || writer.close());
    disk.finish(Ok(()));
    disk.begin();
    disk.finish(Ok(()));
    closing.join().unwrap();
    first.await.unwrap();
    event.await.unwrap();
    outcome.await.unwrap();
    assert_eq!(disk.groups(), [1, 2]);
}

#[tokio::test]
async fn a_call_counts_from_when_it_is_made() {
    let (writer, disk) = open(GroupLimits::default());
    drop(writer.record(vec![event(0)]));
    disk.begin();
    disk.finish(Ok(()));
    let second = writer.record(vec![event(1)]);
    disk.begin();
    disk.finish(Ok(()));
    assert_eq!(second.await, Ok(vec![Recorded::New { epoch: Epoch(1), sequence: Sequence(2) }]));
}

/// The observer knows before the callers do, in commit order, with the links between deliveries (SEM-12).
#[tokio::test]
async fn the_observer_is_told_before_the_callers() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<(u64, Option<Sequence>)>>);
    impl CommitObserver for Seen {
        fn committed(&self, deliveries: Vec<(Delivery, Option<Sequence>)>) {
            let mut seen = self.0.lock().unwrap();
            seen.extend(deliveries.into_iter().map(|(delivery, before)| (delivery.sequence.0, before)));
        }
    }
    let (writer, disk) = open(GroupLimits::default());
    let seen = Arc::new(Seen::default());
    writer.observe(seen.clone());
    let first = writer.record(vec![owed_event(), owed_event()]);
    disk.begin();
    let second = writer.record(vec![owed_event()]);
    disk.finish(Ok(()));
    first.await.unwrap();
    let expected = [(1, None), (2, Some(Sequence(1)))];
    assert_eq!(*seen.0.lock().unwrap(), expected);
    disk.begin();
    disk.finish(Err(StoreError::Unavailable(String::new())));
    second.await.unwrap_err();
    assert_eq!(*seen.0.lock().unwrap(), expected, "what is not stored is not announced");
}

#[tokio::test]
async fn an_observer_that_panics_fails_nobody() {
    struct Panics;
    impl CommitObserver for Panics {
        fn committed(&self, _: Vec<(Delivery, Option<Sequence>)>) {
            panic!("a test's panic");
        }
    }
    let (writer, disk) = open(GroupLimits::default());
    writer.observe(Arc::new(Panics));
    for _ in 0..2 {
        let call = writer.record(vec![owed_event()]);
        disk.begin();
        disk.finish(Ok(()));
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_is_dropped_in_steps() {
    let (writer, disk) = open(GroupLimits::default());
    let steps = std::thread::spawn(move || {
        for _ in 0..3 {
            disk.begin();
            disk.finish(Ok(()));
        }
        disk
    });
    assert_eq!(writer.drop_stream(StreamNumber(3), DropReason::Deleted, Timestamp::default()).await, Ok(30));
    assert_eq!(steps.join().unwrap().groups(), [1, 1, 1]);
}

/// Dropping has its place in the order of commits when it is called, also if nobody waits for it yet.
#[tokio::test]
async fn dropping_takes_its_place_when_it_is_called() {
    let (writer, disk) = open(GroupLimits::default());
    let first = writer.put("a", Version(0), None, None);
    disk.begin();
    let dropped = writer.drop_subjects(StreamNumber(3));
    let second = writer.put("b", Version(0), None, None);
    let steps = std::thread::spawn(move || {
        disk.finish(Ok(()));
        for _ in 0..3 {
            disk.begin();
            disk.finish(Ok(()));
        }
        disk
    });
    first.await.unwrap();
    second.await.unwrap();
    dropped.await.unwrap();
    assert_eq!(steps.join().unwrap().groups(), [1, 2, 1, 1]);
}

/// A disk that writes when the test lets it.
struct Disk {
    begun: Receiver<()>,
    go: Sender<Result<(), StoreError>>,
    groups: Arc<Mutex<Vec<usize>>>,
}

impl Disk {
    /// Waits until the writer has taken a group.
    fn begin(&self) {
        self.begun.recv().expect("the writer lives");
    }

    /// Lets that group go through, or fail.
    fn finish(&self, how: Result<(), StoreError>) {
        self.go.send(how).expect("the writer lives");
    }

    /// How many writes there were in each group.
    fn groups(&self) -> Vec<usize> {
        self.groups.lock().unwrap().clone()
    }
}

struct Committer {
    begun: Sender<()>,
    go: Receiver<Result<(), StoreError>>,
    groups: Arc<Mutex<Vec<usize>>>,
    sequence: u64,
    steps: u32,
}

fn open(limits: GroupLimits) -> (GroupCommit, Disk) {
    let ((begin, begun), (go, gone)) = (channel(), channel());
    let groups = Arc::new(Mutex::new(Vec::new()));
    let committer = Committer { begun: begin, go: gone, groups: groups.clone(), sequence: 0, steps: 0 };
    (GroupCommit::start(committer, limits).unwrap(), Disk { begun, go, groups })
}

impl Commit for Committer {
    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        self.groups.lock().unwrap().push(writes.len());
        self.begun.send(()).unwrap();
        self.go.recv().unwrap()?;
        Ok(writes.iter().map(|write| self.answer(write)).collect())
    }
}

impl Committer {
    fn answer(&mut self, write: &Write) -> Result<Written, StoreError> {
        Ok(match write {
            Write::Record(events) => Written::Recorded(events.iter().map(|_| self.record()).collect()),
            Write::Put { name, .. } if name == "refused" => return Err(StoreError::Conflict),
            Write::Put { name, .. } if name == "panic" => panic!("a test's panic"),
            Write::Put { .. } => Written::Put(Version(1)),
            Write::DropStream { .. } => {
                self.steps += 1;
                Written::Dropped { deliveries: 10, more: self.steps < 3 }
            }
            Write::NewStreamNumber => Written::StreamNumber(StreamNumber(1)),
            Write::Receive(sets) => Written::Received(vec![Receipt::First; sets.len()]),
            Write::Settle(_)
            | Write::Handled(_)
            | Write::Failed { .. }
            | Write::PutSubjects { .. }
            | Write::Enter(_) => Written::Done,
            Write::ForgetSubjects { fingerprints, .. } => Written::Count(fingerprints.len() as u64),
            Write::DropSubjects(_) => {
                self.steps += 1;
                Written::Cleared { more: self.steps < 3 }
            }
            Write::Trim(_) | Write::Forget(_) | Write::ForgetChanges(_) | Write::ClearTraces { .. } => {
                Written::Cleared { more: false }
            }
            Write::Erase(_) => Written::Erased(secevent_store::Erased::default()),
            Write::Redrive(places) | Write::Discard(places) => Written::Count(places.len() as u64),
            Write::Replay { events, .. } => Written::Count(events.len() as u64),
        })
    }

    fn record(&mut self) -> Recorded {
        self.sequence += 1;
        Recorded::New { epoch: Epoch(1), sequence: Sequence(self.sequence) }
    }
}

fn event(body: u8) -> NewEvent {
    NewEvent {
        accepted_at: Timestamp::default(),
        body: vec![body].into(),
        lanes: [].into(),
        idempotency: None,
        owed: Vec::new(),
        dropped: Vec::new(),
    }
}

fn owed_event() -> NewEvent {
    let owed = Owed { stream: StreamNumber(1), queue: Queue::Regular, rendering: Rendering(0) };
    NewEvent { owed: vec![owed], ..event(0) }
}

fn acked() -> Settlement {
    Settlement {
        sequence: Sequence(1),
        stream: StreamNumber(1),
        queue: Queue::Regular,
        at: Timestamp::default(),
        verdict: Verdict::Acked,
        attempts: None,
        attempt: None,
    }
}

fn set() -> Received {
    Received {
        source: String::new(),
        iss: String::new(),
        jti: String::new(),
        digest: [0; 32],
        token: vec![].into(),
        at: Timestamp::default(),
    }
}
