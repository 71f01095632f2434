//! What a replay tells people and programs.

use crate::context::Context;
use crate::failure::Result;
use forebay_metrics::units;
use forebay_trace::replay::Outcome;
use std::fmt::Write;

pub(super) fn report(outcome: &Outcome, context: &Context) -> Result<()> {
    let fidelity = &outcome.fidelity;
    if context.console.json() {
        let mut line = outcome.to_json();
        line["type"] = "replay".into();
        return context.console.record(&line);
    }
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    if let Some(prepared) = outcome.prepared {
        line(
            "Prepared",
            format!(
                "{} objects, {}; {} were there",
                units::count(prepared.objects),
                units::bytes(prepared.bytes),
                units::count(prepared.present)
            ),
        );
    }
    let seconds = fidelity.elapsed.as_secs_f64();
    line(
        "Replayed",
        format!(
            "{} operations, {} in {}",
            units::count(fidelity.done),
            units::bytes(fidelity.bytes),
            units::duration(fidelity.elapsed.as_nanos() as f64)
        ),
    );
    if seconds > 0.0 {
        line(
            "Rate",
            format!(
                "{} operations/s   {}",
                units::number(fidelity.submitted as f64 / seconds),
                units::mib_per_second(fidelity.bytes as f64 / seconds)
            ),
        );
    }
    for (kind, n) in &fidelity.failures {
        line("Failed", format!("{} {kind}", units::count(*n)));
    }
    if fidelity.failed_as_recorded > 0 {
        line("  of these", format!("{} as recorded", units::count(fidelity.failed_as_recorded)));
    }
    if let Some(first) = &fidelity.first_failure {
        line("  the first", first.clone());
    }
    for (op, n) in &fidelity.left_out {
        line("Left out", format!("{} {op}: they change the store; --mutate replays them", units::count(*n)));
    }
    let exact = match (fidelity.is_exact(), fidelity.asked() == fidelity.planned) {
        (true, _) => "exactly what the trace says".to_owned(),
        (false, true) => "NOT what the trace says: other locations, offsets or lengths".to_owned(),
        (false, false) => format!(
            "NOT what the trace says: {} of {} operations",
            units::count(fidelity.asked()),
            units::count(fidelity.planned)
        ),
    };
    line("Asked for", exact);
    let times = |histogram: &hdrhistogram::Histogram<u64>| {
        let at = |q: f64| units::duration(histogram.value_at_quantile(q) as f64);
        match histogram.is_empty() {
            true => "-".to_owned(),
            false => format!(
                "p50 {}   p99 {}   p99.9 {}   max {}",
                at(0.5),
                at(0.99),
                at(0.999),
                units::duration(histogram.max() as f64)
            ),
        }
    };
    if !fidelity.submit_error.is_empty() {
        line("Submit error", times(&fidelity.submit_error));
        if let Some(floor) = &outcome.floor {
            line("Noise floor", times(&floor.lateness));
        }
        if let Some(scheduling) = fidelity.scheduling {
            let kept = scheduling.kept_waiting.map_or(String::new(), |waited| {
                format!("; kept waiting for {}", units::duration(waited.as_nanos() as f64))
            });
            line("Scheduling", format!("{scheduling}{kept}"));
        }
        let floor = outcome.floor.as_ref();
        let floor = floor.map_or(String::new(), |floor| format!(" (noise floor {:.2})", floor.drift_ppm()));
        line(
            "Pace",
            format!(
                "drift {:.2} ppm{floor}   distance of times between {:.4}",
                fidelity.drift_ppm(),
                fidelity.gap_distance()
            ),
        );
    }
    line(
        "In flight",
        format!(
            "at most {} operations, {}; a cap delayed {}",
            units::count(fidelity.peak_in_flight as u64),
            units::bytes(fidelity.peak_bytes_in_flight),
            units::count(fidelity.capped)
        ),
    );
    line("Latency", times(&fidelity.latency));
    if !fidelity.latency_from_intended.is_empty() {
        line("  from due", times(&fidelity.latency_from_intended));
    }
    if !fidelity.recorded_latency.is_empty() {
        line("  recorded", times(&fidelity.recorded_latency));
    }
    let latencies = match fidelity.latency.is_empty() || fidelity.recorded_latency.is_empty() {
        true => "-".to_owned(),
        false => format!("{:.4}", fidelity.latency_distance()),
    };
    let envelope = fidelity.envelope_deviation().map_or("-".to_owned(), units::percent);
    line(
        "Against it",
        format!(
            "sizes {:.4} apart   latencies {latencies} apart   throughput by the second {envelope} apart",
            fidelity.size_distance()
        ),
    );
    if fidelity.starved > 0 {
        line(
            "Starved",
            format!("{} times a stream waited for the trace to be read", units::count(fidelity.starved)),
        );
    }
    for violation in &outcome.violations {
        line("EXCEEDED", violation.clone());
    }
    if fidelity.stopped {
        let given_up = match fidelity.given_up {
            0 => String::new(),
            n => format!("; {} in flight were given up", units::count(n)),
        };
        line("Stopped", format!("go on with --skip {}{given_up}", outcome.position));
    }
    context.console.print(text)
}
