//! A million random reads, compared with what is in the files. It takes minutes, so it runs only when it is named:
//! `cargo test --release -p forebay-io-direct --test fuzz_million`.

mod ground;

use forebay_io_direct::Engine;
use ground::{disk, fuzz, memory, with};

#[test]
fn a_million_reads_have_no_wrong_byte() {
    for (parent, seed) in [(disk(), 100), (memory(), 200)] {
        for engine in [Engine::Auto, Engine::Threads] {
            for part in 0..25 {
                fuzz(parent, with(engine), seed + part, 10_000);
            }
        }
    }
}
