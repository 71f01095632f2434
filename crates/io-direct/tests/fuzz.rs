//! Some thousand random reads through every engine, compared with what is in the files. A million of them:
//! `cargo test --release -p forebay-io-direct --test fuzz_million`.

mod ground;

use forebay_io_direct::{DirectOptions, Engine};
use ground::{disk, fuzz, memory, with};
use std::num::NonZeroU32;

const FEW: usize = 2_000;

#[test]
fn on_a_disk_by_a_ring() {
    fuzz(disk(), with(Engine::Auto), 1, FEW);
}

#[test]
fn on_a_disk_by_threads() {
    fuzz(disk(), with(Engine::Threads), 2, FEW);
}

#[test]
fn in_memory_by_a_ring() {
    fuzz(memory(), with(Engine::Auto), 3, FEW);
}

#[test]
fn in_memory_by_threads() {
    fuzz(memory(), with(Engine::Threads), 4, FEW);
}

#[test]
fn with_larger_blocks_than_the_disk_has() {
    let alignment = NonZeroU32::new(4096);
    let options = DirectOptions { alignment, min_io_size: 65_536, depth: 3, ..with(Engine::Auto) };
    fuzz(disk(), options, 5, FEW);
}

#[test]
fn through_the_page_cache() {
    fuzz(disk(), DirectOptions { direct_io: false, ..with(Engine::Auto) }, 6, FEW);
    fuzz(memory(), DirectOptions { direct_io: false, ..with(Engine::Threads) }, 7, FEW);
}
