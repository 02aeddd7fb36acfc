//! What processes use, read from /proc.

use std::collections::BTreeMap;
use std::fs;

/// The resources of a process, or of several added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// CPU seconds of the living, and of the children they have reaped.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub rss_kib: u64,
    /// Resident memory, shared pages counted once.
    pub pss_kib: u64,
    /// Bytes sent to the disk.
    pub written_bytes: u64,
    /// How many processes.
    pub processes: u64,
}

/// Usage of a process and everything below it.
pub fn of_tree(root: u32) -> Usage {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse();
        if let Ok(pid) = pid
            && let Some(stat) = Stat::read(&format!("/proc/{pid}/stat"))
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut usage = Usage::default();
    let mut waiting = vec![root];
    while let Some(pid) = waiting.pop() {
        waiting.extend(children.get(&pid).into_iter().flatten());
        usage.add_process(pid);
    }
    usage
}

/// Usage of one process, without those below it.
pub fn of_process(pid: u32) -> Usage {
    let mut usage = Usage::default();
    usage.add_process(pid);
    usage
}

/// Bytes that have been written to the disk on which this path lies, by everybody.
#[cfg(target_os = "linux")]
pub fn written_to_disk_of(path: &std::path::Path) -> Option<u64> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    // The seventh field counts sectors, which are 512 bytes whatever the disk says of itself.
    Some(stat.split_whitespace().nth(6)?.parse::<u64>().ok()? * 512)
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub fn written_to_disk_of(_: &std::path::Path) -> Option<u64> {
    None
}

/// CPU seconds that the whole machine has spent on work since it started, stolen time included, and those that it
/// had: the number of processors times the time.
pub fn of_machine() -> Option<(f64, f64)> {
    machine(&fs::read_to_string("/proc/stat").ok()?, ticks_per_second())
}

/// CPU seconds of this process so far.
pub fn own_cpu_seconds() -> f64 {
    Stat::read("/proc/self/stat").map_or(0.0, |stat| stat.own_ticks as f64 / ticks_per_second())
}

impl Usage {
    /// A process that has ended adds nothing.
    fn add_process(&mut self, pid: u32) {
        let Some(stat) = Stat::read(&format!("/proc/{pid}/stat")) else { return };
        self.processes += 1;
        self.cpu_seconds += (stat.own_ticks + stat.reaped_ticks) as f64 / ticks_per_second();
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        self.rss_kib += field(&memory, "Rss:");
        self.pss_kib += field(&memory, "Pss:");
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        self.written_bytes += field(&io, "write_bytes:");
    }
}

/// The first line has user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user and nice.
fn machine(stat: &str, ticks_per_second: f64) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(((all - idle) as f64 / ticks_per_second, all as f64 / ticks_per_second))
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The fields of /proc/PID/stat that are of use here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own_ticks: u64,
    reaped_ticks: u64,
}

impl Stat {
    fn read(path: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    /// The second field is the program's name in brackets, and may hold blanks and brackets itself.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: ticks(11)? + ticks(12)?,
            reaped_ticks: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat_lines_of_programs_with_odd_names() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 11 12 3 4 20 0 1 0 5 6 7";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 7, own_ticks: 23, reaped_ticks: 7 }));
        assert_eq!(Stat::parse("nonsense"), None);
    }

    #[test]
    fn reads_how_busy_the_machine_is() {
        let stat = "cpu  100 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(machine(stat, 10.0), Some((17.1, 62.1)));
        assert_eq!(machine("cpu  1 2 3\n", 10.0), None);
        assert_eq!(machine("", 10.0), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn meters_this_very_process() {
        let usage = of_tree(std::process::id());
        assert!(usage.processes >= 1 && usage.rss_kib > 0, "{usage:?}");
        assert!(own_cpu_seconds() >= 0.0);
    }
}
