//! The engine bench: the shipped `secevent serve` as a black box, beside the floor, row by row.
//!
//! Load generator, receivers and pollers are processes of their own. Each row starts what it needs on free ports and in
//! folders of its own, and ends it by id. Floor and product take turns, and what counts is the median.

pub mod against;
pub mod child;
pub mod figures;
pub mod floor;
pub mod http;
pub mod load;
pub mod machine;
pub mod meter;
pub mod product;
pub mod rows;
pub mod table;

use anyhow::{Context, Result};
use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What all rows share: the programs, a place on the disk, ports, and how long to measure.
#[derive(Debug)]
pub struct Bench {
    programs: PathBuf,
    /// The product that is measured.
    product: PathBuf,
    folder: TempDir,
    next_port: Cell<u16>,
    others: RefCell<Vec<f64>>,
    /// A few seconds for each row, to see that it works. Its figures mean little.
    pub quick: bool,
    /// How often floor and product take turns.
    pub rounds: usize,
    /// How often a run is repeated in which others took more than [`OTHERS_MAX`] of the machine.
    pub repeats: usize,
}

/// The share of the machine that others may take while we measure.
pub const OTHERS_MAX: f64 = 1.0 / 3.0;
/// What stands behind these listens above; below are no outgoing connections, which could hold a port.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

impl Bench {
    /// A bench with the programs in this folder, or else beside this one. Everything that is measured is written below `folder`,
    /// which has to be on the disk.
    pub fn new(
        programs: Option<&Path>,
        folder: Option<&Path>,
        quick: bool,
        rounds: usize,
        repeats: usize,
    ) -> Result<Self> {
        let own = std::env::current_exe().context("this program does not know where it lies")?;
        let beside = own.parent().context("a program lies in a folder")?;
        let programs = programs.unwrap_or(beside).to_owned();
        let folder = folder.unwrap_or(&programs);
        let folder = tempfile::Builder::new().prefix("engine-bench-").tempdir_in(folder);
        let folder = folder.context("cannot make a folder for what is measured")?;
        // Two benches at once begin at different ports, so that they seldom try the same.
        let span = u32::from(PORTS.end - PORTS.start);
        let start = u16::try_from(std::process::id().wrapping_mul(97) % span)?;
        let next_port = Cell::new(PORTS.start + start);
        let product = programs.join("secevent");
        Ok(Self { programs, product, folder, next_port, others: RefCell::default(), quick, rounds, repeats })
    }

    /// One of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The product that is measured.
    pub fn product(&self) -> &Path {
        &self.product
    }

    /// Measures another build of the product from now on.
    pub fn set_product(&mut self, product: &Path) {
        product.clone_into(&mut self.product);
    }

    /// Where what is measured lies.
    pub fn disk(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder for one run. It goes when it is dropped.
    pub fn new_folder(&self) -> Result<TempDir> {
        tempfile::tempdir_in(self.folder.path()).context("cannot make a folder")
    }

    /// A port that nobody listens on.
    pub fn free_port(&self) -> Result<u16> {
        for _ in PORTS {
            let port = self.next_port.get();
            self.next_port.set(if port + 1 == PORTS.end { PORTS.start } else { port + 1 });
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        anyhow::bail!("there is no free port below {}", PORTS.end)
    }

    /// The first number in a measurement, the second in a quick one.
    pub fn scaled<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Notes down the share of the machine that others took during a run that counts.
    pub fn note_others(&self, share: f64) {
        self.others.borrow_mut().push(share);
    }

    /// What others took of the machine, in words.
    pub fn told_of_others(&self) -> Option<String> {
        let shares = self.others.borrow();
        let (middle, most) = figures::median(&shares).zip(shares.iter().copied().reduce(f64::max))?;
        Some(format!("{:.0} % in the median of all runs, {:.0} % at most", middle * 100.0, most * 100.0))
    }

    /// Says on standard error what is going on.
    pub fn tell(&self, what: &str) {
        eprintln!("  {what}");
    }
}
