//! How often each path of the token bench allocates, as one JSON object. A program of its own, because the allocator
//! that counts would slow down the one that measures. What the cryptography library takes from C is not counted.

use anyhow::Result;
use bench::token::{ALGORITHMS, Bench, Path};
use serde_json::{Map, Value};

fn main() -> Result<()> {
    let mut counts = Map::new();
    for algorithm in ALGORITHMS {
        let bench = Bench::new(algorithm)?;
        let mut row = Vec::new();
        for path in Path::ALL {
            // The first time fills what is made only once.
            bench.run(path)?;
            let mut result = Ok(());
            let counted = allocation_counter::measure(|| result = bench.run(path));
            result?;
            row.push(Value::from(counted.count_total));
        }
        counts.insert(algorithm.to_string(), row.into());
    }
    println!("{}", Value::from(counts));
    Ok(())
}
