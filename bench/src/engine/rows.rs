//! The rows: each measures one thing that is promised of the embedded store.

mod backlog;
mod fanout;
mod held;
mod isolation;
mod latency;
mod pair;
mod poll;
mod receive;
mod retry;
mod stop;
mod streams;
mod subjects;
mod throughput;
mod unsteady;

use super::Bench;
use super::table::Report;
use anyhow::Result;
use clap::ValueEnum;

/// A row, or a group of rows that one run serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// Deliveries a second to one stream, CPU and bytes written for each, by algorithm.
    Throughput,
    /// The same when all events are about one subject.
    Serial,
    /// Deliveries a second to ten streams, and memory.
    Fanout,
    /// How long it takes at 200 events a second.
    Latency,
    /// Ten thousand streams.
    Streams,
    /// A million subjects in one stream.
    Subjects,
    /// A million pending deliveries, and a restart with them.
    Backlog,
    /// A slow receiver and a hundred dead ones beside a fast one.
    Isolation,
    /// What was held once the receiver answers.
    Held,
    /// How exactly a retry keeps to its time.
    Retry,
    /// A receiver that fails at random.
    Unsteady,
    /// Long polls, and polling as fast as it goes.
    Poll,
    /// The receiving side.
    Receive,
    /// How long it takes to stop, and what is lost.
    Stop,
}

impl Row {
    /// Measures it.
    pub fn measure(self, bench: &Bench) -> Result<Report> {
        match self {
            Self::Throughput => throughput::measure(bench),
            Self::Serial => throughput::measure_serial(bench),
            Self::Fanout => fanout::measure(bench),
            Self::Latency => latency::measure(bench),
            Self::Streams => streams::measure(bench),
            Self::Subjects => subjects::measure(bench),
            Self::Backlog => backlog::measure(bench),
            Self::Isolation => isolation::measure(bench),
            Self::Held => held::measure(bench),
            Self::Retry => retry::measure(bench),
            Self::Unsteady => unsteady::measure(bench),
            Self::Poll => poll::measure(bench),
            Self::Receive => receive::measure(bench),
            Self::Stop => stop::measure(bench),
        }
    }
}
