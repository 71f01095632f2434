//! A snapshot and the facts of a run, as text for a terminal of 80 columns.
//!
//! Only what was measured is shown. A figure that too few values stand behind is `-`. The report
//! says what is conspicuous and what that points to, in the words of the registry; it does not
//! look for the bottleneck.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::gauge::GaugeReading;
use crate::names::Counter;
use crate::operation::Operation;
use crate::queue::QueueRole;
use crate::run_facts::RunFacts;
use crate::snapshot::MetricsSnapshot;
use crate::summary::{HistogramSummary, PowerOfTwo};
use crate::units;

const WIDTH: usize = 80;

/// The text; write it with `{}`.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    pub(crate) snapshot: &'a MetricsSnapshot,
    facts: &'a RunFacts,
    coloured: bool,
    of_a_run: bool,
}

impl<'a> Report<'a> {
    /// Plain text.
    pub fn new(snapshot: &'a MetricsSnapshot, facts: &'a RunFacts) -> Report<'a> {
        Report { snapshot, facts, coloured: false, of_a_run: true }
    }

    /// With ANSI colours. Whether the reader is a terminal that wants them is the caller's to find out.
    #[must_use]
    pub fn coloured(self, coloured: bool) -> Report<'a> {
        Report { coloured, ..self }
    }

    /// Without what was loaded and how fast, for a snapshot whose run nobody wrote down.
    #[must_use]
    pub fn without_run(self) -> Report<'a> {
        Report { of_a_run: false, ..self }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn heading(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// A line of the first block: a name and what there is to say about it.
    fn line(&self, f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
        let mut first = true;
        for part in wrap(text, WIDTH - 14) {
            let name = if first { name } else { "" };
            first = false;
            writeln!(f, "{}{part}", self.heading(&format!("{name:<14}")))?;
        }
        Ok(())
    }

    fn overview(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of_a_run {
            self.loaded(f)?;
        }
        self.requests(f)?;
        self.processor(f)?;
        self.in_flight(f)?;
        self.page_cache(f)?;
        self.sampled(f)?;
        self.sink(f)
    }

    /// Of how many the distributions are, where not of all, and what that leaves uncertain.
    fn sampled(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, operation) in self.operations() {
            let latency = &operation.latency_ns;
            if latency.offered() == latency.n() {
                continue;
            }
            let (n, of) = (units::count(latency.n()), units::count(latency.offered()));
            let mut text = format!("{name}: distributions of {n} of {of} operations");
            for (percentile, fraction) in [("p50", 0.5), ("p99", 0.99)] {
                if let Some((low, high)) = latency.percentile_interval(fraction) {
                    let [low, high] = [low, high].map(|ns| units::duration(ns as f64));
                    let _ = write!(text, "; {percentile} {low} to {high}");
                }
            }
            text.push_str(" (95 % confidence)");
            self.line(f, "Sampled", &text)?;
        }
        Ok(())
    }

    fn loaded(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.facts;
        let mut loaded = plural(facts.samples, "sample", "samples");
        if facts.batches > 0 {
            let _ = write!(loaded, " in {}", plural(facts.batches, "batch", "batches"));
        }
        if facts.epochs > 0 {
            let _ = write!(loaded, ", {}", plural(facts.epochs, "epoch", "epochs"));
        }
        let elapsed = units::duration(facts.elapsed.as_nanos() as f64);
        let _ = write!(loaded, ", {} in {elapsed}", units::bytes(facts.bytes));
        self.line(f, "Loaded", &loaded)?;

        if let (Some(bytes), Some(samples)) = (facts.per_second(facts.bytes), facts.per_second(facts.samples))
        {
            let mut rates =
                format!("{}   {} samples/s", units::mib_per_second(bytes), units::number(samples));
            if let (true, Some(batches)) = (facts.batches > 0, facts.per_second(facts.batches)) {
                let _ = write!(rates, "   {} batches/s", units::number(batches));
            }
            self.line(f, "Throughput", &rates)?;
        }
        Ok(())
    }

    /// What the backends really did, where they say.
    fn requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made: Vec<_> = self
            .operations()
            .filter_map(|(name, operation)| Some((name, operation.attempts.as_ref()?)))
            .map(|(name, attempts)| (name, attempts.requests, attempts.bytes))
            .collect();
        if made.is_empty() {
            return Ok(());
        }
        let each: Vec<_> = made.iter().map(|(name, n, _)| format!("{name} {}", units::count(*n))).collect();
        let bytes = made.iter().map(|(_, _, bytes)| bytes).sum();
        let mut text = format!("{}; {} moved", each.join(", "), units::bytes(bytes));
        let limit = &self.snapshot.concurrency_limit;
        if limit.peak > 0 {
            let _ = write!(text, "; adaptive limit {} at once", units::count(limit.level));
        }
        self.line(f, "Requests", &text)
    }

    fn processor(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(user), Some(system), Some(cpu)) =
            (self.facts.cpu_user, self.facts.cpu_system, self.facts.cpu())
        else {
            return Ok(());
        };
        let seconds = |time: Duration| units::duration(time.as_nanos() as f64);
        let mut text = format!("{} (user {}, system {})", seconds(cpu), seconds(user), seconds(system));
        if !self.facts.elapsed.is_zero() {
            let cores = cpu.as_secs_f64() / self.facts.elapsed.as_secs_f64();
            let _ = write!(text, "   {} cores", units::number(cores));
        }
        if self.facts.samples > 0 {
            // Always in the unit in which such figures are compared.
            let each = cpu.as_nanos() as f64 / self.facts.samples as f64;
            let _ = write!(text, "   {} µs/sample", units::number(each / 1e3));
        }
        self.line(f, "CPU", &text)
    }

    fn in_flight(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &self.snapshot.inflight_bytes;
        let cap = self.facts.max_bytes_in_flight.or(bytes.cap);
        let mut parts = Vec::new();
        match cap {
            Some(cap) if bytes.peak > cap => parts.push(format!(
                "peak {} ABOVE the cap of {}",
                units::bytes(bytes.peak),
                units::bytes(cap)
            )),
            Some(cap) if cap > 0 => parts.push(format!(
                "peak {} of {} ({})",
                units::bytes(bytes.peak),
                units::bytes(cap),
                units::percent(bytes.peak as f64 / cap as f64)
            )),
            _ if bytes.peak > 0 => parts.push(format!("peak {}, no cap", units::bytes(bytes.peak))),
            _ => {}
        }
        if let GaugeReading { peak, cap: Some(cap), .. } = self.snapshot.shared_bytes {
            parts.push(format!("all loaders {} of {}", units::bytes(peak), units::bytes(cap)));
        }
        if self.snapshot.queue_depth.peak > 0 {
            let peak = self.snapshot.queue_depth.peak;
            parts.push(format!("at most {} at once", plural(peak, "request", "requests")));
        }
        if parts.is_empty() {
            return Ok(());
        }
        self.line(f, "In flight", &parts.join("; "))
    }

    fn page_cache(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = &self.snapshot.page_cache;
        let mut parts = Vec::new();
        if let Some(requested) = &self.facts.page_cache_requested {
            parts.push(format!("asked for {requested}"));
        }
        for (mode, &n) in &cache.applied {
            let reads = plural(n, "read", "reads");
            parts.push(match mode.as_str() {
                "not_applicable" => format!("none in the way of {reads}"),
                _ => format!("used {mode} for {reads}"),
            });
        }
        if !parts.is_empty() {
            self.line(f, "Page cache", &parts.join(", "))?;
        }
        if cache.reads_sampled == 0 {
            return Ok(());
        }
        let told = cache.hit + cache.miss;
        let mut held = match cache.hit_ratio() {
            Some(ratio) => format!("{} of {} was in it before", units::percent(ratio), units::bytes(told)),
            None => "not known what was in it before".to_owned(),
        };
        let reads: u64 = cache.applied.values().sum();
        let _ = write!(
            held,
            ", seen at {} of {}",
            units::count(cache.reads_sampled),
            plural(reads, "read", "reads")
        );
        if cache.unknown > 0 {
            let _ = write!(held, "; the kernel did not tell of {}", units::bytes(cache.unknown));
        }
        self.line(f, if parts.is_empty() { "Page cache" } else { "" }, &held)
    }

    fn sink(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for queue in self.snapshot.queues.iter().filter(|queue| queue.role == QueueRole::Sink) {
            let ready = match queue.data_readiness() {
                Some(ready) => format!("data ready {} of the time", units::percent(ready)),
                None => "not watched".to_owned(),
            };
            self.line(f, "Sink", &ready)?;
            let wait = &queue.get_wait_ns;
            let Some(mean) = wait.mean() else { continue };
            let text = format!(
                "get-wait mean {}, p50 {}, p99 {}, total {}",
                units::duration(mean),
                figure(wait.percentile(0.5)),
                figure(wait.percentile(0.99)),
                units::duration(wait.sum() as f64)
            );
            self.line(f, "", &text)?;
        }
        Ok(())
    }

    fn latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<(String, &HistogramSummary)> = Vec::new();
        for (name, operation) in self.operations() {
            if operation.latency_ns.n() > 0 {
                rows.push((name.to_owned(), &operation.latency_ns));
            }
            if operation.first_byte_ns.n() > 0 {
                rows.push(("  first byte".to_owned(), &operation.first_byte_ns));
            }
            let Some(attempts) = &operation.attempts else { continue };
            if attempts.latency_ns.n() > 0 {
                rows.push((format!("{name} request"), &attempts.latency_ns));
            }
            if attempts.first_byte_ns.n() > 0 {
                rows.push(("  first byte".to_owned(), &attempts.first_byte_ns));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let header = format!(
            "{:<13}{:>11}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "Latency", "n", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        );
        writeln!(f, "\n{}", self.heading(&header))?;
        let mut absent = false;
        for (name, latency) in rows {
            write!(f, "{:<13}{:>11}", fit(&name, 12), units::count(latency.n()))?;
            for fraction in [0.5, 0.9, 0.99, 0.999, 0.9999] {
                let value = latency.percentile(fraction);
                absent |= value.is_none();
                write!(f, "{:>9}", figure(value))?;
            }
            writeln!(f, "{:>9}", figure(latency.max()))?;
        }
        if absent {
            writeln!(f, "  -: too few values for that percentile")?;
        }
        Ok(())
    }

    fn sizes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, operation) in self.operations() {
            self.size_table(f, &format!("Request size, {name}"), &operation.request_bytes)?;
            if let Some(attempts) = &operation.attempts {
                self.size_table(f, &format!("Asked of the backend, {name}"), &attempts.request_bytes)?;
            }
        }
        Ok(())
    }

    fn size_table(&self, f: &mut fmt::Formatter<'_>, title: &str, sizes: &HistogramSummary) -> fmt::Result {
        let (Some(mean), Some(min), Some(max)) = (sizes.mean(), sizes.min(), sizes.max()) else {
            return Ok(());
        };
        let header = format!("{title:<30}{:>12}", "requests");
        writeln!(f, "\n{}", self.heading(&header))?;
        let classes = sizes.powers_of_two();
        let most = classes.iter().map(|class| class.n).max().unwrap_or(0);
        let mut at = 0;
        while at < classes.len() {
            let empty = classes[at..].iter().take_while(|class| class.n == 0).count();
            // A few empty rows show the distance; many only hide the rest.
            if empty > 3 {
                writeln!(f, "{:>28}", "…")?;
                at += empty;
                continue;
            }
            let class = &classes[at];
            let (label, n) = (size_class(class), units::count(class.n));
            let part = units::percent(class.n as f64 / sizes.n() as f64);
            write!(f, "  {label:<28}{n:>12} {part:>8}")?;
            match bar(class.n, most, WIDTH - 53) {
                bar if bar.is_empty() => writeln!(f)?,
                bar => writeln!(f, "  {}", self.paint("36", &bar))?,
            }
            at += 1;
        }
        writeln!(
            f,
            "  smallest {}, mean {}, largest {}",
            units::bytes(min),
            units::bytes(mean.round() as u64),
            units::bytes(max)
        )?;
        Ok(())
    }

    fn stages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snapshot.stages.is_empty() {
            return Ok(());
        }
        let over = format!("{:<32}{:>16}{:>16}{:>16}", "", "service", "pool wait", "blocked");
        let header = format!(
            "{:<14}{:>11}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}",
            "Stage", "tasks", "failed", "p50", "p99", "p50", "p99", "p50", "p99"
        );
        writeln!(f, "\n{}\n{}", self.heading(&over), self.heading(&header))?;
        for stage in &self.snapshot.stages {
            write!(
                f,
                "{:<14}{:>11}{:>7}",
                fit(&stage.name, 13),
                units::count(stage.tasks),
                units::count(stage.failures)
            )?;
            for times in [&stage.service_ns, &stage.pool_wait_ns, &stage.blocked_ns] {
                write!(f, "{:>8}{:>8}", figure(times.percentile(0.5)), figure(times.percentile(0.99)))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn queues(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snapshot.queues.is_empty() {
            return Ok(());
        }
        let over = format!("{:<14}{:>29}{:>16}{:>12}", "", "depth", "get wait", "put wait");
        let header = format!(
            "{:<14}{:>10}{:>9}{:>6}{:>4}{:>8}{:>8}{:>8}{:>8}",
            "Queue", "items", "items/s", "mean", "cap", "p50", "p99", "p99", "ready"
        );
        writeln!(f, "\n{}\n{}", self.heading(&over), self.heading(&header))?;
        for queue in &self.snapshot.queues {
            let or_dash = |n: Option<f64>| n.map_or("-".to_owned(), units::number);
            writeln!(
                f,
                "{:<14}{:>10}{:>9}{:>6}{:>4}{:>8}{:>8}{:>8}{:>8}",
                fit(&queue.name, 13),
                units::count(queue.items),
                or_dash(queue.qps()),
                or_dash(queue.mean_depth()),
                queue.capacity,
                figure(queue.get_wait_ns.percentile(0.5)),
                figure(queue.get_wait_ns.percentile(0.99)),
                figure(queue.put_wait_ns.percentile(0.99)),
                queue.data_readiness().map_or("-".to_owned(), units::percent)
            )?;
        }
        Ok(())
    }

    /// Counters that are expected to be 0, where they are not.
    fn conspicuous(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut headed = false;
        for counter in [
            Counter::Errors,
            Counter::FailedRequests,
            Counter::RetriesWithheld,
            Counter::Hedges,
            Counter::HedgesWon,
            Counter::HedgesDenied,
            Counter::BreakerOpens,
            Counter::BreakerRefusals,
            Counter::Failovers,
            Counter::ConcurrencyCuts,
            Counter::Cancelled,
            Counter::Retries,
            Counter::Throttles,
            Counter::Downgrades,
            Counter::Unregistered,
            Counter::Clamped,
        ] {
            let n = self.snapshot.counter(counter);
            // Without reports from a backend it only repeats errors and retries.
            let repeats = counter == Counter::FailedRequests
                && self.operations().all(|(_, operation)| operation.attempts.is_none());
            if n == 0 || repeats {
                continue;
            }
            if !headed {
                writeln!(f, "\n{}", self.paint("1;33", "Worth a look"))?;
                headed = true;
            }
            let definition = counter.definition();
            let details = self.details(counter);
            let separator = if details.is_empty() { "" } else { ": " };
            let text = format!("{}{separator}{details}", units::count(n));
            for (at, part) in wrap(&text, WIDTH - 20).iter().enumerate() {
                let name = if at == 0 { definition.name } else { "" };
                writeln!(f, "  {name:<18}{part}")?;
            }
            for part in wrap(definition.diagnosis, WIDTH - 20) {
                writeln!(f, "{:20}{part}", "")?;
            }
        }
        Ok(())
    }

    fn details(&self, counter: Counter) -> String {
        let mut parts = Vec::new();
        match counter {
            Counter::Errors => {
                for (name, operation) in self.operations() {
                    for (failure, n) in &operation.failures {
                        parts.push(format!("{name} {failure} {}", units::count(*n)));
                    }
                }
            }
            Counter::FailedRequests => {
                for (name, operation) in self.operations() {
                    let Some(attempts) = &operation.attempts else { continue };
                    for (failure, n) in &attempts.failures {
                        parts.push(format!("{name} {failure} {}", units::count(*n)));
                    }
                    for (status, n) in attempts.statuses.iter().filter(|(status, _)| status.as_str() >= "4") {
                        parts.push(format!("{name} status {status} {}", units::count(*n)));
                    }
                }
            }
            Counter::Cancelled => {
                for (name, operation) in self.operations() {
                    if operation.cancelled > 0 {
                        parts.push(format!("{name} {}", units::count(operation.cancelled)));
                    }
                }
            }
            Counter::Downgrades => {
                for downgrade in &self.snapshot.page_cache.downgrades {
                    parts.push(format!(
                        "{} used in place of {} {}",
                        downgrade.to,
                        downgrade.from,
                        units::count(downgrade.n)
                    ));
                }
            }
            _ => {}
        }
        parts.join(", ")
    }

    /// In the order of [`Operation::ALL`], then any that this version does not know.
    fn operations(&self) -> impl Iterator<Item = (&str, &crate::OperationSummary)> {
        let place = |name: &str| Operation::ALL.iter().position(|operation| operation.name() == name);
        let mut operations: Vec<_> = self.snapshot.operations.iter().collect();
        operations.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
        operations.into_iter().map(|(name, operation)| (name.as_str(), operation))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.overview(f)?;
        self.latency(f)?;
        self.backends(f)?;
        self.sizes(f)?;
        self.stages(f)?;
        self.queues(f)?;
        self.conspicuous(f)
    }
}

fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", units::count(n), if n == 1 { one } else { many })
}

pub(crate) fn figure(ns: Option<u64>) -> String {
    ns.map_or("-".to_owned(), |ns| units::duration(ns as f64))
}

fn size_class(class: &PowerOfTwo) -> String {
    match class.from {
        0 => "empty".to_owned(),
        1 => "1 B".to_owned(),
        from => format!("{} to below {}", units::whole_bytes(from), units::whole_bytes(class.below)),
    }
}

/// At least a sliver for anything that is not zero.
fn bar(n: u64, most: u64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if n == 0 || most == 0 {
        return String::new();
    }
    let eighths = ((n as f64 / most as f64 * width as f64 * 8.0).round() as usize).max(1);
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// The text, or as much of it as goes into so many columns.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns - 1).collect();
    format!("{kept}…")
}

/// Lines of at most so many columns, broken between words.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
