//! The designs and their parameters, and which of them are compared at a size of file. How each works is in the
//! module of its name.

use crate::pool::{Memory, Phases};
use crate::ring::{Chain, Tweak};
use crate::run::{Calls, PLAIN, Stat, Tail};
use crate::slab::IN_FLIGHT;

#[derive(Clone, Copy)]
pub(crate) enum Design {
    Limit { threads: usize, slabs: usize, calls: Calls },
    Pool { threads: usize, phases: Phases, calls: Calls, memory: Memory },
    Ring { rings: usize, ahead: usize, chain: Chain, tweak: Tweak },
    Chunks { threads: usize, chunk: usize },
}

/// The designs for a size of file, the limit first.
pub(crate) fn designs(size: usize, cold: bool) -> Vec<(String, Design)> {
    let mut all: Vec<(String, Design)> = Vec::new();
    let relative = Calls { relative: true, ..PLAIN };
    let mut add = |name: &str, design| all.push((name.to_owned(), design));
    add("limit, 2 threads", Design::Limit { threads: 2, slabs: IN_FLIGHT, calls: PLAIN });
    add("limit, 2 threads, openat", Design::Limit { threads: 2, slabs: IN_FLIGHT, calls: relative });
    if !cold {
        add("limit, 2 threads, 2 slabs", Design::Limit { threads: 2, slabs: 2, calls: PLAIN });
    }
    let pool = |threads, phases, calls, memory| Design::Pool { threads, phases, calls, memory };
    for n in [1, 2, 3, 4, 8, 16] {
        add(&format!("A pool, {n} threads"), pool(n, Phases::One, PLAIN, Memory::Reused));
    }
    for n in [1, 2, 4, 8, 16] {
        add(&format!("B two-phase, {n} threads"), pool(n, Phases::Two, PLAIN, Memory::Reused));
    }
    for n in [1, 2, 4, 8, 16] {
        if cold || n <= 2 {
            add(
                &format!("B two-phase WILLNEED, {n} threads"),
                pool(n, Phases::TwoWillNeed, PLAIN, Memory::Reused),
            );
        }
    }
    for n in [1, 2, 3, 4, 8] {
        if cold || n <= 4 {
            add(
                &format!("B two-phase adaptive, {n} threads"),
                pool(n, Phases::TwoAdaptive, PLAIN, Memory::Reused),
            );
            let name = format!("B two-phase adaptive, {n} threads, openat");
            add(&name, pool(n, Phases::TwoAdaptive, relative, Memory::Reused));
        }
    }
    if !cold {
        let variants: [(&str, Calls); 8] = [
            ("openat", relative),
            ("O_NOATIME", Calls { noatime: true, ..PLAIN }),
            ("statx", Calls { stat: Stat::Statx, ..PLAIN }),
            ("no stat", Calls { stat: Stat::Skip, ..PLAIN }),
            ("2 clocks", Calls { clocks: true, ..PLAIN }),
            ("preadv len+1", Calls { tail: Tail::OneMore, ..PLAIN }),
            ("second fstat", Calls { tail: Tail::Restat, ..PLAIN }),
            ("RWF_DONTCACHE", Calls { dontcache: true, ..PLAIN }),
        ];
        for (what, calls) in variants {
            add(&format!("A pool, 2 threads, {what}"), pool(2, Phases::One, calls, Memory::Reused));
        }
        for (what, calls) in [
            variants[0],
            variants[4],
            variants[5],
            ("openat, preadv len+1", Calls { tail: Tail::OneMore, ..relative }),
        ] {
            add(&format!("B two-phase, 2 threads, {what}"), pool(2, Phases::Two, calls, Memory::Reused));
        }
        for (what, memory) in [
            ("huge pages", Memory::ReusedHuge),
            ("fresh slab", Memory::Fresh),
            ("fresh huge", Memory::FreshHuge),
        ] {
            add(&format!("A pool, 2 threads, {what}"), pool(2, Phases::One, PLAIN, memory));
            add(&format!("B two-phase, 2 threads, {what}"), pool(2, Phases::Two, PLAIN, memory));
        }
    } else {
        let once = Calls { dontcache: true, ..PLAIN };
        add("A pool, 8 threads, RWF_DONTCACHE", pool(8, Phases::One, once, Memory::Reused));
    }
    let ring = |rings, ahead, chain, tweak| Design::Ring { rings, ahead, chain, tweak };
    for rings in [1, 2] {
        for (what, chain) in [
            ("known", Chain::Known),
            ("known, replace", Chain::KnownReplace),
            ("two rounds", Chain::TwoRounds),
            ("reads only", Chain::ReadsOnly),
        ] {
            for ahead in [1, 3] {
                add(
                    &format!("C ring, {rings} rings x {ahead}, {what}"),
                    ring(rings, ahead, chain, Tweak::None),
                );
                if cold && matches!(chain, Chain::Known | Chain::ReadsOnly) {
                    add(
                        &format!("C ring, {rings} rings x {ahead}, {what}, ASYNC"),
                        ring(rings, ahead, chain, Tweak::Async),
                    );
                }
            }
        }
        for (what, tweak) in [("registered", Tweak::Registered), ("openat", Tweak::Relative)] {
            add(&format!("C ring, {rings} rings x 1, known, {what}"), ring(rings, 1, Chain::Known, tweak));
            if !cold {
                let name = format!("C ring, {rings} rings x 1, known, replace, {what}");
                add(&name, ring(rings, 1, Chain::KnownReplace, tweak));
            }
        }
    }
    if size >= 1 << 20 {
        for chunk in [256 << 10, 1 << 20, 4 << 20, 16 << 20] {
            for threads in [2, 4, 8, 16] {
                if chunk <= size && (cold || threads == 2) {
                    let name = format!("D chunks of {} KiB, {threads} threads", chunk >> 10);
                    add(&name, Design::Chunks { threads, chunk });
                }
            }
        }
    }
    all
}
