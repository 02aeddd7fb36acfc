//! The index answers what a scan of all that was said would answer by [`Subject::matches`].

use super::*;
use proptest::prelude::*;
use secevent::Identifier;

#[derive(Clone, Debug)]
enum Step {
    Add(Subject),
    Remove(Subject),
    /// An event about this, so many seconds later.
    Ask(Subject, u32),
    /// Simple subjects are left to the store.
    Leave,
    Erase(Subject),
}

/// What was said, as a list: the last word on each subject.
#[derive(Default)]
struct Model(Vec<(Subject, Standing)>);

impl Model {
    fn of(&self, subject: &Subject) -> Option<Standing> {
        self.0.iter().find(|(one, _)| one == subject).map(|(_, standing)| *standing)
    }

    fn say(&mut self, subject: &Subject, standing: Option<Standing>) {
        self.0.retain(|(one, _)| one != subject);
        self.0.extend(standing.map(|standing| (subject.clone(), standing)));
    }

    fn owes(&self, default: DefaultSubjects, grace: Duration, now: Timestamp, subject: &Subject) -> bool {
        let matching =
            || self.0.iter().filter(|(one, _)| one.matches(subject)).map(|(_, standing)| *standing);
        let is_in = |one| match one {
            Standing::Added => true,
            Standing::Removed { at, was_added } => was_added && now < at.plus(grace),
        };
        let is_out = |one| matches!(one, Standing::Removed { at, .. } if now >= at.plus(grace));
        matching().any(is_in) || (default == DefaultSubjects::All && !matching().any(is_out))
    }
}

/// The part of the transmitter that is told here: what it does with the index when something is said.
struct Index {
    key: Fingerprinting,
    set: SubjectSet,
    held: AtomicU64,
    /// What the store would say.
    stored: Vec<(SubjectFingerprint, Standing)>,
    default: DefaultSubjects,
    grace: Duration,
}

impl Index {
    fn say(&mut self, subject: &Subject, standing: Option<Standing>, now: Timestamp) {
        let print = self.key.of(subject);
        self.stored.retain(|(one, _)| *one != print.whole);
        self.stored.extend(standing.map(|standing| (print.whole, standing)));
        self.set.change(&self.held, |said| match standing {
            Some(Standing::Added) => said.add(&print),
            Some(Standing::Removed { was_added, .. }) => {
                let until = (!self.grace.is_zero()).then(|| now.plus(self.grace));
                said.remove(print, self.default, was_added, until);
            }
            None => said.remove(print, self.default, true, None),
        });
    }

    fn owes(&self, subject: &Subject, now: Timestamp) -> bool {
        let print = self.key.of(subject);
        self.set.end(&self.held, self.default, now);
        match self.set.owes(self.default, || &print) {
            Owed::Yes => true,
            Owed::No => false,
            Owed::Ask { removed } => {
                let stored = |one| self.stored.iter().find(|(known, _)| known == one).map(|(_, said)| *said);
                let said: Vec<_> = print.identifiers().iter().map(stored).collect();
                owed_as_stored(self.default, now, self.grace, removed, &said)
            }
        }
    }

    fn erase(&mut self, subject: &Subject) {
        let print = self.key.of(subject);
        let mut erased = self
            .set
            .change(&self.held, |said| said.erase(print.whole, |name| self.key.member(name, print.whole)));
        erased.push(print.whole);
        self.stored.retain(|(one, _)| !erased.contains(one));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_answers_as_a_scan_would(
        default in prop_oneof![Just(DefaultSubjects::All), Just(DefaultSubjects::None)],
        grace in prop_oneof![Just(0), Just(5)],
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let grace = Duration::from_secs(grace);
        let mut model = Model::default();
        let key = Fingerprinting::new(&StoreKey::new([7; 16]));
        let mut index = Index { key, set: SubjectSet::default(), held: AtomicU64::new(0), stored: Vec::new(), default, grace };
        let mut now = Timestamp::from_seconds(1_000);
        for step in steps {
            match step {
                Step::Add(subject) => {
                    model.say(&subject, Some(Standing::Added));
                    index.say(&subject, Some(Standing::Added), now);
                }
                Step::Remove(subject) => {
                    let was_added = match model.of(&subject) {
                        Some(Standing::Removed { .. }) => continue,
                        None if default == DefaultSubjects::None => continue,
                        before => before.is_some(),
                    };
                    let standing = Standing::Removed { at: now, was_added };
                    let standing = (default == DefaultSubjects::All || !grace.is_zero()).then_some(standing);
                    model.say(&subject, standing);
                    index.say(&subject, standing, now);
                }
                Step::Ask(subject, later) => {
                    now = now.plus(Duration::from_secs(later.into()));
                    let expected = model.owes(default, grace, now, &subject);
                    prop_assert_eq!(index.owes(&subject, now), expected, "{:?}", subject);
                }
                Step::Leave => {
                    index.set.change(&index.held, Said::leave_to_store);
                }
                Step::Erase(subject) => {
                    let Subject::Simple(identifier) = &subject else { continue };
                    if matches!(identifier, Identifier::Aliases { .. }) {
                        continue;
                    }
                    model.0.retain(|(one, _)| !mentions(one, identifier));
                    index.erase(&subject);
                }
            }
            let held = index.set.read().as_ref().map_or(0, |said| said.held());
            prop_assert_eq!(index.held.load(Ordering::Relaxed), held, "the account is right");
        }
        index.set.clear(&index.held);
        prop_assert_eq!(index.held.load(Ordering::Relaxed), 0);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// However many there are, each is there once.
    #[test]
    fn many_simple_subjects_are_a_set(numbers in proptest::collection::vec(0_u32..20_000, 1..200)) {
        let key = Fingerprinting::new(&StoreKey::new([7; 16]));
        let mut side = side::Side::default();
        let print = |number: u32| key.of(&Subject::opaque(&number.to_string()).unwrap());
        for number in 0..9_000 {
            prop_assert!(side.insert(&print(number)));
        }
        let mut expected: BTreeSet<u32> = (0..9_000).collect();
        for number in numbers {
            prop_assert_eq!(side.matches(&print(number)), expected.contains(&number));
            if number % 2 == 0 {
                prop_assert_eq!(side.insert(&print(number)), expected.insert(number));
            } else {
                prop_assert_eq!(side.remove(&print(number)), expected.remove(&number));
            }
            prop_assert_eq!(side.count(), expected.len());
        }
    }
}

fn mentions(subject: &Subject, identifier: &Identifier) -> bool {
    match subject {
        Subject::Simple(Identifier::Aliases { identifiers, .. }) => identifiers.contains(identifier),
        Subject::Simple(one) => one == identifier,
        Subject::Complex(complex) => complex.iter().any(|(_, one)| one == identifier),
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => subject().prop_map(Step::Add),
        4 => subject().prop_map(Step::Remove),
        8 => (subject(), 0..4_u32).prop_map(|(subject, later)| Step::Ask(subject, later)),
        1 => Just(Step::Leave),
        1 => subject().prop_map(Step::Erase),
    ]
}

/// Few enough that they meet.
fn subject() -> impl Strategy<Value = Subject> {
    let members = proptest::collection::btree_map(
        prop_oneof![Just("user"), Just("device"), Just("tenant"), Just("x")],
        prop_oneof![4 => identifier().boxed(), 1 => aliases().boxed()],
        1..4,
    );
    prop_oneof![
        3 => identifier().prop_map(Subject::from),
        1 => aliases().prop_map(Subject::from),
        3 => members.prop_map(|members| Subject::complex(members).unwrap()),
    ]
}

fn identifier() -> impl Strategy<Value = Identifier> {
    (0..3_u8, any::<bool>()).prop_map(|(number, email)| match email {
        true => Identifier::email(&format!("user{number}@example.com")).unwrap(),
        false => Identifier::opaque(&format!("u-{number}")).unwrap(),
    })
}

fn aliases() -> impl Strategy<Value = Identifier> {
    proptest::collection::vec(identifier(), 1..4).prop_map(|names| Identifier::aliases(names).unwrap())
}
