//! The reference of all metrics as a document, written from the registry so that it cannot be wrong.

use std::fmt::Write as _;

use crate::layout::{Digits, Layout};
use crate::names::{Counter, Definition, OTHERS, PAGE_CACHE, PIPELINE};
use crate::snapshot::SCHEMA_VERSION;

/// `docs/metrics.md`, in Markdown.
pub fn markdown() -> String {
    let mut text = format!(
        "# Metrics\n\n\
         Written from `crates/metrics/src/names.rs` by `UPDATE_DOCS=1 cargo test -p forebay-metrics --test \
         reference`; a test fails while the two differ.\n\n\
         A snapshot of them is JSON of schema version {SCHEMA_VERSION} (`schema_version`), the same from the \
         command, from Rust and from Python. A key that goes away or changes its meaning changes the version; a \
         new key does not. Snapshots of several processes merge into what one process would have counted, bucket \
         by bucket, and two of one run can be subtracted. The table form (`.csv`) has one figure a row: \
         `{}`.\n\n\
         Counters are exact. A percentile is given only where at least one value lies above it. A value outside \
         a histogram's range is clamped and counted in `clamped`.\n",
        crate::csv::HEADER
    );
    table(
        &mut text,
        "Counters",
        "In `backend_counters`.",
        Counter::ALL.iter().map(|counter| counter.definition()),
    );
    text.push_str(
        "\n## Backends\n\n\
         `backends` has the same taken apart by what served it: `file`, `direct`, `s3`, `az` (also by `https`), `memory`, \
         `other`. Each operation is in exactly one of them, so together they are the whole. Each has `operations`, as the \
         one at the top, and `counters`, all of them: what layers around a backend do about trouble (retries, hedges, \
         throttling) is told of the backend that they stand around, and what is told without saying of whom is \
         `other`'s. In Prometheus' form they have names of their own (`forebay_backend_…`, with the labels \
         `backend` and `operation`), so that a sum over a metric's labels counts nothing twice; in the table form the \
         sections `backend`, `backend_operation` and `backend_attempt`; in the log the tags \
         `backend_operation.s3.get.latency_ns` and so on.\n",
    );
    table(
        &mut text,
        "Levels and distributions",
        "At the top of a snapshot, the distributions there over all reads (gets and ranges). The same distributions \
         are in `operations`, by kind of operation, and in `attempts` within these: the requests that the backend \
         really made. Their figures are in the unit that the name says; `recorded` in each has range, digits, sum \
         and buckets in `recorded.unit`, times in whole nanoseconds, so that nothing is lost.",
        OTHERS.iter(),
    );
    table(
        &mut text,
        "Page cache",
        "In `page_cache`, beside `applied` (served reads by the mode that was applied) and `downgrades`.",
        PAGE_CACHE.iter(),
    );
    table(&mut text, "Pipeline", "In `stages` and `queues`, by name.", PIPELINE.iter());
    memory(&mut text);
    text
}

fn table(text: &mut String, title: &str, where_: &str, rows: impl Iterator<Item = &'static Definition>) {
    let _ = write!(
        text,
        "\n## {title}\n\n{where_}\n\n| name | shape | unit | what it says | what a conspicuous value points to | name is \
         |\n|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let [shape, unit, stability] = [row.shape.name(), row.unit.name(), row.stability.name()];
        let _ = writeln!(
            text,
            "| `{}` | {shape} | {unit} | {} | {} | {stability} |",
            row.name, row.means, row.diagnosis
        );
    }
}

/// From the layouts themselves.
fn memory(text: &mut String) {
    text.push_str(
        "\n## Significant digits and memory\n\n\
         A percentile differs from the exact one by less than 10^-digits of its value. Memory is taken a page at a \
         time, one for each power of two of values that a thread has really seen (the first page: all values \
         below).\n\n\
         | digits | bytes a page | at most, latency (1 ns to 1 h) | at most, sizes (0 B to 1 TiB) |\n|---|---|---|---|\n",
    );
    for digits in (1..=5).filter_map(|digits| Digits::new(digits).ok()) {
        let (latency, sizes) = (Layout::latency(digits), Layout::request_bytes(digits));
        let page = latency.page_len() * 8;
        let _ = writeln!(
            text,
            "| {} | {page} | {} | {} |",
            digits.get(),
            page * latency.pages(),
            page * sizes.pages()
        );
    }
}
