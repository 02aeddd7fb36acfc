//! The journal of what was written, and the files as a power cut leaves them.

use crate::clock::Instant;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{HashMap, VecDeque};
use std::path::Path;

/// What a disk writes as a whole.
const SECTOR: u64 = 512;

/// Something that was done to the files of a directory, as `powercut.c` tells it.
#[derive(Debug)]
pub(crate) struct Entry {
    kind: Kind,
    /// The opening by which it was done.
    opening: u64,
    offset: u64,
    bytes: Vec<u8>,
    /// Before its effect.
    pub(crate) at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    Write,
    Truncate,
    SyncBegun,
    SyncEnded,
    Unlink,
    Rename,
}

/// Reads a journal. Its writer was killed, so the last entry may be half there.
pub(crate) fn read(mut journal: &[u8]) -> Vec<Entry> {
    const NUMBERS: usize = 6;
    let mut entries = Vec::new();
    while let Some((head, rest)) = journal.split_at_checked(NUMBERS * 8) {
        let head: Vec<u64> =
            head.chunks(8).map(|number| u64::from_ne_bytes(number.try_into().unwrap())).collect();
        let [kind, opening, offset, length, at, 0] = head[..] else { panic!("not a head: {head:?}") };
        let Some((bytes, rest)) = rest.split_at_checked(usize::try_from(length).unwrap()) else { break };
        let kind = match kind {
            1 => Kind::Open,
            2 => Kind::Write,
            3 => Kind::Truncate,
            4 => Kind::SyncBegun,
            5 => Kind::SyncEnded,
            6 => Kind::Unlink,
            7 => Kind::Rename,
            _ => panic!("files are changed by a call unknown here: {}", String::from_utf8_lossy(bytes)),
        };
        entries.push(Entry { kind, opening, offset, bytes: bytes.to_vec(), at: Instant(at) });
        journal = rest;
    }
    entries
}

/// The places at which a sync had just ended.
pub(crate) fn syncs(entries: &[Entry]) -> Vec<usize> {
    let ended = entries.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::SyncEnded);
    ended.map(|(place, _)| place).collect()
}

/// What a disk would be told that forgets what was synced from some place on.
pub(crate) fn without_syncs_from(entries: Vec<Entry>, place: usize) -> Vec<Entry> {
    let known = |(at, entry): &(usize, Entry)| *at < place || entry.kind != Kind::SyncEnded;
    entries.into_iter().enumerate().filter(known).map(|(_, entry)| entry).collect()
}

/// What becomes of writes that no sync covers.
#[derive(Debug)]
pub(crate) enum Unsynced {
    /// None of them is on the disk.
    Lost,
    /// Some are, some are not, some are there in part.
    Mixed(Box<StdRng>),
}

impl Unsynced {
    pub(crate) fn mixed(seed: u64) -> Self {
        Self::Mixed(Box::new(StdRng::seed_from_u64(seed)))
    }

    /// How many of so many are on the disk, where each needs those before it.
    fn first_of(&mut self, count: usize) -> usize {
        match self {
            Self::Lost => 0,
            Self::Mixed(chance) => chance.random_range(0..=count),
        }
    }

    /// How much of a write from `offset` on is on the disk.
    fn part(&mut self, offset: u64, length: u64) -> u64 {
        let Self::Mixed(chance) = self else { return 0 };
        match chance.random_range(0..3) {
            0 => 0,
            1 => length,
            _ => {
                let boundary = chance.random_range(offset..=offset + length) / SECTOR * SECTOR;
                boundary.saturating_sub(offset)
            }
        }
    }
}

/// What became of the writes that no sync covers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Damage {
    pub(crate) lost: usize,
    pub(crate) torn: usize,
    pub(crate) kept: usize,
}

/// Writes the files of `directory` into another one, as a disk has them when the power goes after these entries:
/// everything that a sync covers, and of the rest what `unsynced` says. Changes of names stay in their order, as
/// file systems see to.
pub(crate) fn rebuild(entries: &[Entry], directory: &Path, unsynced: &mut Unsynced, into: &Path) -> Damage {
    let disk = Disk::after(entries, directory);
    let synced = disk.names.get("").map_or(0, |own| disk.files[*own].synced);
    let durable = disk.namings.iter().filter(|(place, _)| *place < synced).count();
    let kept = durable + unsynced.first_of(disk.namings.len() - durable);
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (_, naming) in &disk.namings[..kept] {
        match naming {
            Naming::Made(name, file) => {
                names.insert(name, *file);
            }
            Naming::Gone(name) => {
                names.remove(name.as_str());
            }
            Naming::Moved(from, to) => {
                let file = names.remove(from.as_str()).expect("it had a name before");
                names.insert(to, file);
            }
        }
    }
    let mut names: Vec<_> = names.into_iter().collect();
    // The same seed is the same damage.
    names.sort_unstable();
    let mut damage = Damage::default();
    for (name, file) in names {
        std::fs::write(into.join(name), disk.files[file].content(unsynced, &mut damage)).unwrap();
    }
    damage
}

/// What is known after some entries.
#[derive(Default)]
struct Disk<'a> {
    files: Vec<File<'a>>,
    /// The file of each opening.
    opened: HashMap<u64, usize>,
    /// Where the syncs began that go on. Those of a process that was killed never end.
    syncing: HashMap<u64, VecDeque<usize>>,
    /// The names as the process sees them; the empty one is the directory's.
    names: HashMap<String, usize>,
    /// Changes of names, with their places.
    namings: Vec<(usize, Naming)>,
}

enum Naming {
    Made(String, usize),
    Gone(String),
    Moved(String, String),
}

/// A file, whatever its name is.
#[derive(Default)]
struct File<'a> {
    /// What was changed, at which places.
    changes: Vec<(usize, &'a Entry)>,
    /// Everything before this place is on the disk.
    synced: usize,
}

impl<'a> Disk<'a> {
    fn after(entries: &'a [Entry], directory: &Path) -> Self {
        let mut disk = Self::default();
        let name_of = |path: &[u8]| {
            let path = Path::new(std::str::from_utf8(path).unwrap());
            path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned()
        };
        for (place, entry) in entries.iter().enumerate() {
            match entry.kind {
                Kind::Open => {
                    let (name, made) = (name_of(&entry.bytes), entry.offset == 1);
                    let known = disk.names.get(&name).copied().filter(|_| !made);
                    let file = known.unwrap_or_else(|| {
                        disk.files.push(File::default());
                        disk.files.len() - 1
                    });
                    if made {
                        disk.namings.push((place, Naming::Made(name.clone(), file)));
                    }
                    disk.names.insert(name, file);
                    disk.opened.insert(entry.opening, file);
                }
                Kind::Write | Kind::Truncate => disk.file(entry).changes.push((place, entry)),
                Kind::SyncBegun => disk.syncing.entry(entry.opening).or_default().push_back(place),
                Kind::SyncEnded => {
                    // Of two at once the older began with less, and that much is sure.
                    let begun = disk.syncing.get_mut(&entry.opening).and_then(VecDeque::pop_front).unwrap();
                    let file = disk.file(entry);
                    file.synced = file.synced.max(begun);
                }
                Kind::Unlink => {
                    let name = name_of(&entry.bytes);
                    disk.names.remove(&name);
                    disk.namings.push((place, Naming::Gone(name)));
                }
                Kind::Rename => {
                    let mut both = entry.bytes.split(|byte| *byte == 0).map(name_of);
                    let (from, to) = (both.next().unwrap(), both.next().unwrap());
                    let file = disk.names.remove(&from).unwrap();
                    disk.names.insert(to.clone(), file);
                    disk.namings.push((place, Naming::Moved(from, to)));
                }
            }
        }
        disk
    }

    fn file(&mut self, entry: &Entry) -> &mut File<'a> {
        &mut self.files[self.opened[&entry.opening]]
    }
}

impl File<'_> {
    fn content(&self, unsynced: &mut Unsynced, damage: &mut Damage) -> Vec<u8> {
        let mut content = Vec::new();
        for (place, Entry { kind, offset, bytes, .. }) in &self.changes {
            let (synced, end) = (*place < self.synced, usize::try_from(*offset).unwrap());
            if *kind == Kind::Truncate {
                if synced || unsynced.first_of(1) == 1 {
                    content.resize(end, 0);
                }
                continue;
            }
            let length = bytes.len() as u64;
            let part = if synced { length } else { unsynced.part(*offset, length) };
            match part {
                _ if synced => {}
                0 => damage.lost += 1,
                part if part < length => damage.torn += 1,
                _ => damage.kept += 1,
            }
            let part = usize::try_from(part).unwrap();
            if part > 0 {
                content.resize(content.len().max(end + part), 0);
                content[end..end + part].copy_from_slice(&bytes[..part]);
            }
        }
        content
    }
}

/// What a sync covers is there, what came while it went on is not, and a file has a name when its directory was
/// synced.
#[test]
fn a_cut_keeps_what_was_synced() {
    let entry = |opening, kind, offset, bytes: &[u8]| {
        let (bytes, at) = (bytes.to_vec(), Instant(0));
        Entry { kind, opening, offset, bytes, at }
    };
    let entries = [
        entry(1, Kind::Open, 1, b"/d/a"),
        entry(1, Kind::Write, 2, b"one"),
        entry(2, Kind::Open, 0, b"/d"),
        entry(2, Kind::SyncBegun, 0, b""),
        entry(2, Kind::SyncEnded, 0, b""),
        entry(1, Kind::SyncBegun, 0, b""),
        entry(1, Kind::Write, 0, b"two"),
        entry(1, Kind::SyncEnded, 0, b""),
        entry(1, Kind::Unlink, 0, b"/d/a"),
    ];
    let left = |count: usize| {
        let into = tempfile::tempdir().unwrap();
        rebuild(&entries[..count], Path::new("/d"), &mut Unsynced::Lost, into.path());
        std::fs::read(into.path().join("a")).ok()
    };
    assert_eq!(left(4), None, "nobody knows its name yet");
    assert_eq!(left(7), Some(Vec::new()), "its sync goes on");
    assert_eq!(left(9), Some(b"\0\0one".to_vec()), "the removal is not synced");
}
