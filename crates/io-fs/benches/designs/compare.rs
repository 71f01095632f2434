//! All designs at one size of file: first checked, then measured in turns, then printed as a table.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use crate::design::{Design, designs};
use crate::fio::fio;
use crate::measure::measure;
use crate::run::Run;
use crate::samples::{Files, drop_caches};
use crate::slab::{IN_FLIGHT, MAX_THREADS, Slab};

#[allow(clippy::too_many_arguments)]
pub(crate) fn one_size(
    root: &Path,
    label: &str,
    size: usize,
    cold: bool,
    repeats: usize,
    only: &[String],
    pages_only: bool,
    bytes: usize,
    with_fio: bool,
) {
    let files = Files::make(root, label, size);
    let list: Vec<(String, Design)> = designs(size, cold)
        .into_iter()
        .enumerate()
        .filter(|(i, (name, _))| *i == 0 || only.is_empty() || only.iter().any(|o| name.contains(o.as_str())))
        .map(|(_, d)| d)
        .collect();
    let map = |huge| -> Vec<Slab> {
        let count = if size > 1 << 20 { IN_FLIGHT.max(8) } else { MAX_THREADS };
        (0..count).map(|_| Slab::map(files.batch * (size + 64), huge, true)).collect()
    };
    let (small, huge) = (map(false), map(true));
    let count = if cold { (bytes / size).min(files.full.len()) } else { files.full.len() };
    let mut order: Vec<u32> = (0..files.full.len() as u32).collect();
    let mut state = 42;
    shuffle(&mut order, &mut state);
    order.truncate(count);
    let threads_of = |d: &Design| match *d {
        Design::Pool { threads, .. } => threads,
        _ => 0,
    };
    let list: Vec<_> = list.into_iter().filter(|(_, d)| threads_of(d) <= small.len()).collect();
    let one = |design: Design, order: &[u32], check: bool| {
        let run = Run { files: &files, order, small: &small, huge: &huge, next: AtomicUsize::new(0), check };
        measure(design, &run)
    };
    // Every design first shows that it reads the right bytes; cached, this is the warm-up as well.
    for (_, design) in &list {
        one(*design, &order, true);
    }
    let mut walls = vec![Vec::new(); list.len()];
    let mut cpus = vec![Vec::new(); list.len()];
    let fios: Vec<(usize, &str, usize)> = if with_fio {
        [1, 2, 4, 8, 16]
            .map(|n| (n, "psync", 1))
            .into_iter()
            .chain([(1, "io_uring", 32), (2, "io_uring", 32)])
            .collect()
    } else {
        Vec::new()
    };
    let fios: Vec<_> = fios.into_iter().filter(|f| f.0 <= order.len()).collect();
    let mut fio_rates = vec![Vec::new(); fios.len()];
    let mut turns: Vec<u32> = (0..(list.len() + fios.len()) as u32).collect();
    for _ in 0..repeats {
        shuffle(&mut turns, &mut state);
        shuffle(&mut order, &mut state);
        for &turn in &turns {
            let turn = turn as usize;
            if cold {
                drop_caches(&files, &order, pages_only);
            }
            if let Some((_, design)) = list.get(turn) {
                let (wall, cpu) = one(*design, &order, false);
                walls[turn].push(wall);
                cpus[turn].push(cpu);
            } else {
                let (jobs, engine, depth) = fios[turn - list.len()];
                fio_rates[turn - list.len()].push(fio(&files, &order, jobs, engine, depth));
            }
        }
    }
    let footprint = (IN_FLIGHT * files.batch * size) >> 10;
    let state = match (cold, pages_only) {
        (false, _) => "cached",
        (true, false) => "cold (drop_caches 3)",
        (true, true) => "cold pages, known inodes",
    };
    println!(
        "\n### {label}, {state}: {count} files, batches of {}, {footprint} KiB in flight\n",
        files.batch
    );
    println!("| design | files/s | GiB/s | of the limit | CPU us/file | of the limit's |");
    println!("|---|---:|---:|---:|---:|---:|");
    let limit_cpu = median(cpus[0].clone());
    for (i, (name, _)) in list.iter().enumerate() {
        let wall = median(walls[i].clone());
        let ratio = median(walls[0].iter().zip(&walls[i]).map(|(limit, this)| limit / this).collect());
        let cpu = median(cpus[i].clone());
        println!(
            "| {name} | {:.0} | {:.2} | {ratio:.2} | {:.2} | {:.2} |",
            count as f64 / wall,
            (count * size) as f64 / wall / (1u64 << 30) as f64,
            cpu / count as f64 * 1e6,
            cpu / limit_cpu,
        );
    }
    for ((jobs, engine, depth), rates) in fios.iter().zip(fio_rates) {
        let rate = median(rates);
        println!(
            "| fio {engine}, {jobs} jobs x {depth} | {:.0} | {:.2} | | | |",
            rate / size as f64,
            rate / (1u64 << 30) as f64
        );
    }
    // SAFETY: the descriptor was opened in `make` and is not used again.
    unsafe { libc::close(files.dirfd) };
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn shuffle(order: &mut [u32], state: &mut u64) {
    for i in (1..order.len()).rev() {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        order.swap(i, (*state >> 33) as usize % (i + 1));
    }
}
