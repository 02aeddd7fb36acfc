//! Which numbers of a run have arrived, which of them twice, and which out of order.

use crate::markers::Markers;
use std::collections::HashMap;

/// The sequence numbers seen on one path.
#[derive(Debug, Default)]
pub struct Sequence {
    bits: Vec<u64>,
    latest_by_subject: HashMap<u64, u64>,
    /// How many different numbers there are.
    pub distinct: u64,
    /// Deliveries beyond the first of their number.
    pub duplicates: u64,
    /// First deliveries that came after a later one about the same subject.
    pub out_of_order_per_subject: u64,
    /// The greatest number.
    pub greatest: u64,
}

impl Sequence {
    /// Takes a delivery in. Bodies without `bench_sub` are all about one subject.
    pub fn add(&mut self, markers: Markers) {
        let Some(number) = markers.sequence else { return };
        let Some(word) = usize::try_from(number / 64).ok().filter(|word| *word < WORDS_MAX) else { return };
        if word >= self.bits.len() {
            self.bits.resize(word + 1024, 0);
        }
        let bit = 1u64 << (number % 64);
        self.greatest = self.greatest.max(number);
        if self.bits[word] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.bits[word] |= bit;
        self.distinct += 1;
        let latest = self.latest_by_subject.entry(markers.subject.unwrap_or_default()).or_insert(number);
        if number < *latest {
            self.out_of_order_per_subject += 1;
        }
        *latest = (*latest).max(number);
    }
}

/// More than 2^30 numbers is not a count that these tools make.
const WORDS_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(deliveries: &[(u64, Option<u64>)]) -> (u64, u64, u64, u64) {
        let mut sequence = Sequence::default();
        for (number, subject) in deliveries {
            sequence.add(Markers { sent_nanos: None, sequence: Some(*number), subject: *subject });
        }
        (sequence.distinct, sequence.duplicates, sequence.out_of_order_per_subject, sequence.greatest)
    }

    #[test]
    fn counts_duplicates_and_reordering() {
        let plain = [0, 1, 3, 2, 2, 70_000].map(|number| (number, None));
        assert_eq!(sequence(&plain), (5, 1, 1, 70_000));
    }

    #[test]
    fn order_counts_within_a_subject_only() {
        let (a, b) = (Some(1), Some(2));
        assert_eq!(sequence(&[(1, a), (0, b), (3, b), (2, a)]).2, 0, "each subject in order");
        assert_eq!(sequence(&[(1, a), (0, a), (3, b), (2, b)]).2, 2, "each subject out of order");
        assert_eq!(sequence(&[(5, a), (3, a), (4, a)]).2, 2, "both are late behind 5");
        assert_eq!(sequence(&[(1, a), (2, a), (1, a)]).2, 0, "a repetition is no first delivery");
    }

    #[test]
    fn ignores_what_has_no_number_or_an_absurd_one() {
        let mut sequence = Sequence::default();
        sequence.add(Markers::default());
        sequence.add(Markers { sequence: Some(u64::MAX), ..Markers::default() });
        assert_eq!(sequence.distinct, 0);
    }
}
