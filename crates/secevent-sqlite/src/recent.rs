//! Finds the row of a name among millions, without an index that is written in random order.
//!
//! A unique index over names that strangers choose is written all over the place: each event dirties a page of
//! its own, and the rate falls to a third once the index has outgrown the cache. Here names only ever grow at
//! one end, as the rows do that hold them:
//!
//! - The *head*: fingerprints of the newest rows, in memory. It is rebuilt at start from those rows.
//! - *Runs*: when the head is full it is written as one sorted run, a page after the other. A run is never
//!   changed, and is dropped whole when its newest entry is old enough.
//! - A *filter* per run, in memory: 12 bits for each entry say "not here" for all but one in a hundred. It is
//!   stored beside the run, so that a start reads a tenth of what is stored of names.
//!
//! Filters have a bound. Beyond it the largest and oldest are folded to a half, and again to a quarter: more looks at
//! runs in vain. If that is not enough the oldest runs go without, and are looked at each time. Nothing is forgotten
//! for it, it only takes longer.
//!
//! A fingerprint only says where to look; the row itself decides.

use crate::failure::Failure;
use crate::fingerprint::FingerprintKey;
use crate::meta::{self, Meta};
use rusqlite::{Connection, params};
use secevent::Timestamp;
use std::collections::BTreeSet;

/// Which rows are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Events by their producers' names.
    Names,
    /// Received SETs by their identifiers.
    Seen,
}

/// The fingerprints of one guard.
#[derive(Debug)]
pub(crate) struct Recent {
    guard: Guard,
    key: FingerprintKey,
    /// Rows up to this number are in runs.
    sealed: u64,
    head: BTreeSet<(u64, u64)>,
    head_newest: Timestamp,
    runs: Vec<Run>,
    /// What the filters may have together.
    filter_bytes_max: usize,
}

#[derive(Debug)]
struct Run {
    number: i64,
    newest: Timestamp,
    /// None beyond the bound: there may be anything in it.
    filter: Option<Filter>,
}

impl Recent {
    /// A head of this many fingerprints becomes a run.
    pub(crate) const HEAD_MAX: usize = 32_768;
    /// A head over this many rows becomes a run, so that a start has no more rows to read. Not each has a name.
    const HEAD_ROWS_MAX: u64 = 65_536;
    /// Bytes of an entry.
    const ENTRY: usize = 14;
    /// Enough for eleven million names, and four times as many if they are coarse.
    pub(crate) const FILTER_BYTES_MAX: usize = 16 << 20;

    /// The fingerprints of what is stored.
    pub(crate) fn load(
        connection: &Connection,
        guard: Guard,
        key: FingerprintKey,
        filter_bytes_max: usize,
    ) -> Result<Self, Failure> {
        let sealed = meta::get(connection, guard.sealed())?.try_into().unwrap_or(0);
        let mut recent = Self {
            guard,
            key,
            sealed,
            head: BTreeSet::new(),
            head_newest: Timestamp::from_micros(i64::MIN),
            runs: Vec::new(),
            filter_bytes_max,
        };
        recent.load_runs(connection)?;
        recent.load_head(connection)?;
        Ok(recent)
    }

    fn load_runs(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut runs = connection.prepare(
            "SELECT run, newest, filter FROM runs LEFT JOIN run_filters USING (guard, run)
             WHERE guard = ?1 ORDER BY run",
        )?;
        let mut rows = runs.query([self.guard.number()])?;
        while let Some(row) = rows.next()? {
            let (number, newest) = (row.get(0)?, Timestamp::from_micros(row.get(1)?));
            let stored = row.get_ref(2)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
            let filter = match stored.and_then(Filter::read) {
                Some(filter) => filter,
                None => Filter::new(&self.fingerprints_of(connection, number)?),
            };
            self.runs.push(Run { number, newest, filter: Some(filter) });
            self.bound_filters();
        }
        Ok(())
    }

    fn fingerprints_of(&self, connection: &Connection, run: i64) -> Result<Vec<u64>, Failure> {
        let mut parts =
            connection.prepare_cached("SELECT entries FROM run_parts WHERE id BETWEEN ?1 AND ?2")?;
        let mut parts = parts.query([self.part(run, 0), self.part(run, 0xff)])?;
        let mut fingerprints = Vec::with_capacity(Self::HEAD_MAX);
        while let Some(part) = parts.next()? {
            let part = part.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            fingerprints.extend(entries(part).map(|(fingerprint, _)| fingerprint));
        }
        Ok(fingerprints)
    }

    fn bound_filters(&mut self) {
        let bytes = |run: &Run| run.filter.as_ref().map_or(0, Filter::bytes);
        while self.runs.iter().map(bytes).sum::<usize>() > self.filter_bytes_max {
            // The largest, and of those the oldest.
            let Some(run) = self.runs.iter_mut().rev().max_by_key(|run| bytes(run)) else { return };
            if !run.filter.as_mut().is_some_and(Filter::fold) {
                run.filter = None;
            }
        }
    }

    fn load_head(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut select = connection.prepare(self.guard.rows())?;
        let mut rows = select.query([self.sealed])?;
        while let Some(row) = rows.next()? {
            let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
            let fingerprint = self.key.of(text(2)?, text(3)?);
            let (number, at) = (row.get(0)?, Timestamp::from_micros(row.get(1)?));
            self.insert(fingerprint, number, at);
        }
        Ok(())
    }

    pub(crate) fn fingerprint(&self, scope: &str, name: &str) -> u64 {
        self.key.of(scope, name)
    }

    /// The rows that may have this fingerprint, newest first. Nearly always there are none or one.
    pub(crate) fn candidates(&self, connection: &Connection, fingerprint: u64) -> Result<Vec<u64>, Failure> {
        let head = self.head.range((fingerprint, 0)..=(fingerprint, u64::MAX)).rev();
        let mut found: Vec<u64> = head.map(|(_, number)| *number).collect();
        let may_hold = |run: &&Run| run.filter.as_ref().is_none_or(|filter| filter.may_hold(fingerprint));
        for run in self.runs.iter().rev().filter(may_hold) {
            let mut select = connection.prepare_cached("SELECT entries FROM run_parts WHERE id = ?1")?;
            let mut rows = select.query([self.part(run.number, fingerprint.to_be_bytes()[0])])?;
            let Some(row) = rows.next()? else { continue };
            let part = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            found.extend(entries(part).rev().filter(|(of, _)| *of == fingerprint).map(|(_, number)| number));
        }
        Ok(found)
    }

    /// Remembers a row. It need not be committed yet: after a failure everything is loaded anew.
    pub(crate) fn insert(&mut self, fingerprint: u64, number: u64, at: Timestamp) {
        self.head.insert((fingerprint, number));
        self.head_newest = self.head_newest.max(at);
    }

    /// Makes a run of the head if it is full. Rows up to `last` exist.
    pub(crate) fn seal(&mut self, connection: &Connection, last: u64) -> Result<(), Failure> {
        if self.head.len() < Self::HEAD_MAX && last.saturating_sub(self.sealed) < Self::HEAD_ROWS_MAX {
            return Ok(());
        }
        if !self.head.is_empty() {
            self.write_run(connection)?;
        }
        self.sealed = last;
        meta::set(connection, self.guard.sealed(), i64::try_from(last).unwrap_or(i64::MAX))
    }

    fn write_run(&mut self, connection: &Connection) -> Result<(), Failure> {
        let number = self.runs.last().map_or(1, |run| run.number + 1);
        let head: Vec<(u64, u64)> = std::mem::take(&mut self.head).into_iter().collect();
        let mut insert = connection.prepare_cached("INSERT INTO run_parts VALUES (?1, ?2)")?;
        for part in head.chunk_by(|a, b| a.0.to_be_bytes()[0] == b.0.to_be_bytes()[0]) {
            let mut blob = Vec::with_capacity(part.len() * Self::ENTRY);
            for (fingerprint, row) in part {
                blob.extend(fingerprint.to_be_bytes());
                blob.extend(&row.to_be_bytes()[2..]);
            }
            insert.execute(params![self.part(number, part[0].0.to_be_bytes()[0]), blob])?;
        }
        let newest = std::mem::replace(&mut self.head_newest, Timestamp::from_micros(i64::MIN));
        let mut insert = connection.prepare_cached("INSERT INTO runs VALUES (?1, ?2, ?3)")?;
        insert.execute(params![self.guard.number(), number, newest.as_micros()])?;
        let fingerprints: Vec<u64> = head.iter().map(|(fingerprint, _)| *fingerprint).collect();
        let filter = Filter::new(&fingerprints);
        let mut insert = connection.prepare_cached("INSERT INTO run_filters VALUES (?1, ?2, ?3)")?;
        insert.execute(params![self.guard.number(), number, filter.to_stored()])?;
        self.runs.push(Run { number, newest, filter: Some(filter) });
        self.bound_filters();
        Ok(())
    }

    /// Drops runs of which everything is from before `before`, a few at a time. Returns whether there are more.
    pub(crate) fn forget(&mut self, connection: &Connection, before: Timestamp) -> Result<bool, Failure> {
        const RUNS: usize = 4;
        // The newest run stays, so that numbers of runs go on from it. Its entries are too old to count.
        let newest = self.runs.last().map(|run| run.number);
        let old = self.runs.iter().map(|run| (run.number, run.newest));
        let old =
            old.filter(|(number, at)| *at < before && Some(*number) != newest).map(|(number, _)| number);
        let old: Vec<i64> = old.take(RUNS).collect();
        for number in &old {
            let mut delete = connection.prepare_cached("DELETE FROM run_parts WHERE id BETWEEN ?1 AND ?2")?;
            delete.execute([self.part(*number, 0), self.part(*number, 0xff)])?;
            for delete in [
                "DELETE FROM run_filters WHERE guard = ?1 AND run = ?2",
                "DELETE FROM runs WHERE guard = ?1 AND run = ?2",
            ] {
                connection.prepare_cached(delete)?.execute([self.guard.number(), *number])?;
            }
        }
        self.runs.retain(|run| !old.contains(&run.number));
        Ok(old.len() == RUNS)
    }

    fn part(&self, run: i64, part: u8) -> i64 {
        self.guard.number() << 60 | run << 8 | i64::from(part)
    }
}

impl Guard {
    fn number(self) -> i64 {
        match self {
            Self::Names => 0,
            Self::Seen => 1,
        }
    }

    fn sealed(self) -> Meta {
        match self {
            Self::Names => Meta::NamesSealed,
            Self::Seen => Meta::SeenSealed,
        }
    }

    fn rows(self) -> &'static str {
        match self {
            Self::Names => {
                "SELECT sequence, accepted_at, scope, key FROM events WHERE sequence > ?1 AND scope IS NOT NULL"
            }
            Self::Seen => "SELECT place, received_at, iss, jti FROM seen WHERE place > ?1",
        }
    }
}

fn entries(part: &[u8]) -> impl DoubleEndedIterator<Item = (u64, u64)> {
    part.as_chunks::<{ Recent::ENTRY }>().0.iter().map(|entry| {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        (number(&entry[..8]), number(&entry[8..]))
    })
}

/// A Bloom filter in blocks of one cache line.
#[derive(Debug)]
struct Filter {
    blocks: Vec<[u64; 8]>,
    folds: u32,
}

impl Filter {
    const BITS_PER_ENTRY: usize = 12;
    /// Bits that each entry sets in its block, nine bits of the fingerprint for each.
    const PROBES: u32 = 6;
    /// How often it may be folded to a half. A third time, and it would say "perhaps" to nine of ten.
    const FOLDS_MAX: u32 = 2;
    const BLOCK_BYTES: usize = size_of::<[u64; 8]>();

    fn new(fingerprints: &[u64]) -> Self {
        let blocks = (fingerprints.len() * Self::BITS_PER_ENTRY).div_ceil(512).max(1);
        let blocks = blocks.next_multiple_of(1 << Self::FOLDS_MAX);
        let mut filter = Self { blocks: vec![[0; 8]; blocks], folds: 0 };
        for fingerprint in fingerprints {
            let block = filter.block(*fingerprint);
            for (word, bit) in probes(*fingerprint) {
                filter.blocks[block][word] |= bit;
            }
        }
        filter
    }

    /// What was stored, if it is a filter.
    fn read(stored: &[u8]) -> Option<Self> {
        let (words, rest) = stored.as_chunks::<8>();
        let (blocks, odd) = words.as_chunks::<8>();
        if !rest.is_empty()
            || !odd.is_empty()
            || blocks.is_empty()
            || blocks.len() % (1 << Self::FOLDS_MAX) != 0
        {
            return None;
        }
        Some(Self { blocks: blocks.iter().map(|block| block.map(u64::from_le_bytes)).collect(), folds: 0 })
    }

    fn to_stored(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn bytes(&self) -> usize {
        self.blocks.len() * Self::BLOCK_BYTES
    }

    /// Makes it half as large: of two neighbouring blocks one that has the bits of both, which is where a filter of
    /// that size would have put them. Returns whether it could.
    fn fold(&mut self) -> bool {
        if self.folds == Self::FOLDS_MAX {
            return false;
        }
        self.folds += 1;
        let (pairs, _) = self.blocks.as_chunks::<2>();
        let both = |[a, b]: &[[u64; 8]; 2]| std::array::from_fn(|word| a[word] | b[word]);
        self.blocks = pairs.iter().map(both).collect();
        true
    }

    fn may_hold(&self, fingerprint: u64) -> bool {
        let block = &self.blocks[self.block(fingerprint)];
        probes(fingerprint).all(|(word, bit)| block[word] & bit != 0)
    }

    fn block(&self, fingerprint: u64) -> usize {
        let share = (u128::from(fingerprint) * self.blocks.len() as u128) >> 64;
        usize::try_from(share).expect("it is below the number of blocks")
    }
}

fn probes(fingerprint: u64) -> impl Iterator<Item = (usize, u64)> {
    // The high bits choose the block: the bits in it must come from all of them.
    let mixed =
        fingerprint.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..Filter::PROBES).map(move |probe| {
        let bits = mixed >> (64 - 9 * (probe + 1)) & 0x1ff;
        let word = usize::try_from(bits >> 6).expect("three bits");
        (word, 1 << (bits & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_what_was_put_in_and_little_else() {
        let key = FingerprintKey(1, 2);
        let of = |name: u32| key.of("scope", &name.to_string());
        let fingerprints: Vec<u64> = (0..32_768).map(of).collect();
        let filter = Filter::new(&fingerprints);
        assert!(fingerprints.iter().all(|fingerprint| filter.may_hold(*fingerprint)));
        let wrong = (1_000_000..1_100_000).filter(|name| filter.may_hold(of(*name))).count();
        assert!(wrong < 1_500, "{wrong} of 100000");
        assert!(!Filter::new(&[]).may_hold(7));
    }

    #[test]
    fn a_folded_filter_still_holds_everything() {
        let key = FingerprintKey(1, 2);
        let of = |name: u32| key.of("scope", &name.to_string());
        for names in [0, 1, 43, 32_768] {
            let fingerprints: Vec<u64> = (0..names).map(of).collect();
            let mut filter = Filter::new(&fingerprints);
            let stored = Filter::read(&filter.to_stored()).unwrap();
            assert_eq!(stored.blocks, filter.blocks);
            let bytes = filter.bytes();
            for (folded, wrong_max) in [(2, 10_000), (4, 50_000)] {
                assert!(filter.fold());
                assert_eq!(filter.bytes(), bytes / folded);
                assert!(fingerprints.iter().all(|fingerprint| filter.may_hold(*fingerprint)));
                let wrong = (1_000_000..1_100_000).filter(|name| filter.may_hold(of(*name))).count();
                assert!(wrong < wrong_max, "{wrong} of 100000, folded to 1/{folded}");
            }
            assert!(!filter.fold());
        }
        assert!(Filter::read(&[]).is_none() && Filter::read(&[0; 100]).is_none());
        assert!(Filter::read(&[0; 64]).is_none(), "it could not be folded");
    }

    /// The bound is kept, and names are found all the same: in folded filters, and where there is none (SEM-18).
    #[test]
    fn filters_are_bounded_and_names_are_found() {
        const RUN: u64 = 32_768;
        let mut connection = Connection::open_in_memory().unwrap();
        crate::migrations::migrate(&mut connection, crate::migrations::MIGRATIONS).unwrap();
        let key = FingerprintKey(1, 2);
        let of = |name: u64| key.of("scope", &name.to_string());
        // Room for less than two filters of full size.
        let room = 80 << 10;
        let mut recent = Recent::load(&connection, Guard::Names, key, room).unwrap();
        for name in 1..=RUN * 10 {
            recent.insert(of(name), name, Timestamp::default());
            recent.seal(&connection, name).unwrap();
        }
        let check = |recent: &Recent| {
            assert_eq!(recent.runs.len(), 10);
            let filters = recent.runs.iter().filter_map(|run| run.filter.as_ref());
            assert!(filters.clone().map(Filter::bytes).sum::<usize>() <= room);
            assert_eq!(filters.clone().count(), 6, "as many as find room, folded");
            assert!(recent.runs[9].filter.is_some(), "the oldest go without");
            for name in (1..=RUN * 10).step_by(10_007) {
                assert_eq!(recent.candidates(&connection, of(name)).unwrap(), [name]);
            }
            assert!(recent.candidates(&connection, of(RUN * 10 + 1)).unwrap().is_empty());
        };
        check(&recent);
        check(&Recent::load(&connection, Guard::Names, key, room).unwrap());
    }
}
