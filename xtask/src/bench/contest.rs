//! Several programs that do the same work, run in turn: one round after another, so that whatever
//! changes on the machine meanwhile changes for all of them alike.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::reading::{Reading, Spread};

/// A program to measure.
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    /// Runs it once.
    pub(crate) run: Box<dyn FnMut() -> anyhow::Result<Reading> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> anyhow::Result<Reading> + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// All readings of one contender.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) readings: Vec<Reading>,
}

impl Outcome {
    pub(crate) fn samples_per_second(&self) -> Spread {
        Spread::of(&self.readings, Reading::samples_per_second)
    }

    pub(crate) fn cores(&self) -> Spread {
        Spread::of(&self.readings, Reading::cores)
    }

    pub(crate) fn cpu_micros_per_sample(&self) -> Spread {
        Spread::of(&self.readings, Reading::cpu_micros_per_sample)
    }
}

/// Runs every contender `rounds` times. Each round starts with another one, so that none always runs in
/// the wake of the same neighbour. `before` prepares the machine (page cache) ahead of each run.
pub(crate) fn hold(
    rounds: usize,
    contenders: &mut [Contender<'_>],
    before: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Outcome>> {
    let count = contenders.len();
    let order = |round| (0..count).map(|turn| (round + turn) % count).collect();
    hold_in(rounds, contenders, order, before)
}

/// The same with an order of its own for each round, thrown but the same in every run: for many short rounds, in
/// which everybody is to have been everybody's neighbour.
pub(crate) fn hold_thrown(rounds: usize, contenders: &mut [Contender<'_>]) -> anyhow::Result<Vec<Outcome>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut order: Vec<_> = (0..contenders.len()).collect();
    let thrown = |_| {
        order.shuffle(&mut random);
        order.clone()
    };
    hold_in(rounds, contenders, thrown, || Ok(()))
}

fn hold_in(
    rounds: usize,
    contenders: &mut [Contender<'_>],
    mut order: impl FnMut(usize) -> Vec<usize>,
    mut before: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Outcome>> {
    let empty = |c: &Contender<'_>| Outcome { name: c.name.clone(), readings: Vec::new() };
    let mut outcomes: Vec<_> = contenders.iter().map(empty).collect();
    for round in 0..rounds {
        for index in order(round) {
            before()?;
            let contender = &mut contenders[index];
            let reading =
                (contender.run)().map_err(|error| error.context(format!("contender {}", contender.name)))?;
            eprintln!(
                "  round {}/{rounds} {:18} {:>10.0} samples/s",
                round + 1,
                contender.name,
                reading.samples_per_second()
            );
            outcomes[index].readings.push(reading);
        }
    }
    Ok(outcomes)
}

/// The outcomes as a table. Ratios are against the contender named `reference`.
pub(crate) fn table(outcomes: &[Outcome], reference: &str) -> String {
    let base = outcomes.iter().find(|outcome| outcome.name == reference);
    let base_rate = base.map(|base| base.samples_per_second().median);
    let mut text = format!(
        "{:18} {:>11} {:>23} {:>8} {:>14} {:>6} {:>13}\n",
        "",
        "samples/s",
        "(min .. max)",
        "GiB/s",
        "CPU us/sample",
        "cores",
        format!("of {reference}")
    );
    for outcome in outcomes {
        let rate = outcome.samples_per_second();
        let gib = Spread::of(&outcome.readings, Reading::gib_per_second).median;
        let cpu = outcome.cpu_micros_per_sample().median;
        let cores = outcome.cores().median;
        let share = base_rate.map_or("-".to_owned(), |base| format!("{:.3}", rate.median / base));
        let span = format!("({:.0} .. {:.0})", rate.min, rate.max);
        text += &format!(
            "{:18} {:>11.0} {span:>23} {gib:>8.2} {cpu:>14.2} {cores:>6.2} {share:>13}\n",
            outcome.name, rate.median
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn reading(samples: u64) -> Reading {
        Reading { samples, bytes: samples, seconds: 1.0, cpu_seconds: 1.0, ..Reading::default() }
    }

    /// One that notes when it runs.
    fn noted<'a>(name: &'static str, order: &'a RefCell<String>) -> Contender<'a> {
        Contender::new(name, move || {
            order.borrow_mut().push_str(name);
            Ok(reading(1))
        })
    }

    #[test]
    fn contenders_take_turns_and_each_round_starts_with_another() {
        let order = RefCell::new(String::new());
        let contender = |name| noted(name, &order);
        let mut prepared = 0;
        let before = || {
            prepared += 1;
            Ok(())
        };
        let outcomes = hold(2, &mut [contender("a"), contender("b"), contender("c")], before).unwrap();
        assert_eq!(*order.borrow(), "abcbca");
        assert_eq!(prepared, 6);
        assert!(outcomes.iter().all(|outcome| outcome.readings.len() == 2));
    }

    #[test]
    fn thrown_orders_differ_and_have_everybody_once() {
        let order = RefCell::new(String::new());
        let contender = |name| noted(name, &order);
        hold_thrown(24, &mut [contender("a"), contender("b"), contender("c")]).unwrap();
        let order = order.borrow();
        let mut rounds: Vec<_> = (0..24).map(|round| &order[3 * round..][..3]).collect();
        rounds.sort_unstable();
        rounds.dedup();
        assert_eq!(rounds, ["abc", "acb", "bac", "bca", "cab", "cba"]);
    }

    #[test]
    fn a_contender_that_fails_is_named() {
        let mut failing = [Contender::new("torch2", || anyhow::bail!("no module"))];
        assert!(hold(1, &mut failing, || Ok(())).unwrap_err().to_string().contains("torch2"));
    }

    #[test]
    fn the_table_gives_each_as_a_share_of_the_reference() {
        let outcome = |name: &str, samples| Outcome { name: name.into(), readings: vec![reading(samples)] };
        let text = table(&[outcome("limit", 200), outcome("forebay", 150)], "limit");
        assert!(text.lines().any(|line| line.starts_with("forebay") && line.ends_with("0.750")), "{text}");
    }
}
