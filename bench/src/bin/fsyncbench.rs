//! What the disk allows: appends records in groups and makes each group durable, then says how many records and how
//! many syncs a second that gives. One file and one writer, as in a write-ahead log.

use anyhow::Result;
use bench::latency::{Latencies, rounded};
use bench::process;
use clap::{Parser, ValueEnum};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    dir: PathBuf,
    /// Bytes in a record.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Records made durable together; several, by commas.
    #[arg(long, default_value = "1,16,256", value_delimiter = ',')]
    group: Vec<usize>,
    /// Seconds for each group size.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How a group is made durable.
    #[arg(long, default_value = "fdatasync")]
    mode: Mode,
    /// Reserve this many MiB beforehand, so that a sync need not journal a new file length.
    #[arg(long, default_value_t = 0)]
    prealloc_mib: u64,
    /// Also write the reserved space full of zeros first, so that extents are not converted.
    #[arg(long)]
    zeroed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Fdatasync,
    Fsync,
    /// O_DSYNC on the write.
    Dsync,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let path = options.dir.join(format!("fsyncbench.{}", std::process::id()));
    for group in &options.group {
        let result = measure(&options, *group, &path);
        std::fs::remove_file(&path)?;
        println!("{}", result?);
    }
    Ok(())
}

fn measure(options: &Options, group: usize, path: &Path) -> Result<serde_json::Value> {
    let reserved = options.prealloc_mib << 20;
    let mut file = open(options, path)?;
    let records = vec![0x5a_u8; options.size * group];
    let (mut latencies, mut written) = (Latencies::new(), 0_u64);
    let (start, cpu) = (Instant::now(), process::own_cpu_seconds());
    while start.elapsed().as_secs_f64() < options.seconds {
        if reserved > 0 && written + records.len() as u64 > reserved {
            file.rewind()?;
            written = 0;
        }
        let begun = Instant::now();
        file.write_all(&records)?;
        match options.mode {
            Mode::Fsync => file.sync_all()?,
            Mode::Fdatasync => file.sync_data()?,
            Mode::Dsync => {}
        }
        latencies.record(begun.elapsed());
        written += records.len() as u64;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = process::own_cpu_seconds() - cpu;
    let syncs = latencies.count() as f64;
    Ok(json!({
        "mode": format!("{:?}", options.mode).to_lowercase(),
        "size": options.size,
        "group": group,
        "prealloc_mib": options.prealloc_mib,
        "zeroed": options.zeroed,
        "syncs_per_s": (syncs / seconds).round(),
        "records_per_s": (syncs * group as f64 / seconds).round(),
        "mib_per_s": rounded(syncs * records.len() as f64 / seconds / 1_048_576.0, 1),
        "cpu_s_per_1000_syncs": cpu / syncs * 1000.0,
        "latency": latencies.to_json(),
    }))
}

fn open(options: &Options, path: &Path) -> Result<File> {
    let mut open = OpenOptions::new();
    open.create(true).truncate(true).write(true);
    if options.mode == Mode::Dsync {
        open.custom_flags(OFlags::DSYNC.bits().cast_signed());
    }
    let mut file = open.open(path)?;
    if options.prealloc_mib > 0 {
        fallocate(&file, FallocateFlags::empty(), 0, options.prealloc_mib << 20)?;
        if options.zeroed {
            let zeros = vec![0_u8; 1 << 20];
            for _ in 0..options.prealloc_mib {
                file.write_all(&zeros)?;
            }
            file.rewind()?;
        }
        file.sync_all()?;
    }
    Ok(file)
}
