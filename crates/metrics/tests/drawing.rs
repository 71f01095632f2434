//! Pictures of runs show what was measured, where the axes say it is.
#![cfg(feature = "draw")]

use std::time::Duration;

use forebay_metrics::draw::{Mark, Plot, Run, Slice, charts, html, svg};
use forebay_metrics::{
    Backend, CacheUse, Ended, Extent, GaugeReading, MetricsCollector, MetricsSnapshot, Operation, Outcome,
};

fn gets(collector: &MetricsCollector, latencies: impl Iterator<Item = u64>) {
    for latency_ns in latencies {
        let outcome =
            Outcome::Done { bytes: 65_536, latency_ns, first_byte_ns: None, cache: CacheUse::Default };
        collector.started(1);
        collector.ended([Ended {
            operation: Operation::Get,
            backend: Backend::File,
            extent: Extent::Whole,
            outcome,
        }]);
    }
}

/// Ten seconds, each of 1,000 reads; those of the seventh take ten times as long.
fn run(name: &str) -> Run {
    let collector = MetricsCollector::new();
    collector.inflight_bytes().set_cap(64 << 20);
    let mut readings: Vec<(Duration, MetricsSnapshot)> = Vec::new();
    for second in 1..=10 {
        let factor = if second == 7 { 10 } else { 1 };
        gets(&collector, (0..1_000).map(|i| (100_000 + i * 100) * factor));
        collector.inflight_bytes().add(second << 20);
        readings.push((Duration::from_secs(second), collector.snapshot()));
        collector.inflight_bytes().sub(second << 20);
    }
    let slices = Slice::between(readings.iter().map(|(at, snapshot)| (*at, snapshot))).unwrap();
    Run { name: name.to_owned(), whole: collector.snapshot(), slices }
}

/// A tiny reader of what is drawn: the numbers of the path of the curve with this name.
fn path(svg: &str, name: &str) -> Vec<(f64, f64)> {
    let curve =
        svg.split("<g class=\"curve\"").find(|part| part.starts_with(&format!(" data-name=\"{name}\"")));
    let curve = curve.unwrap_or_else(|| panic!("no curve {name}"));
    let line = curve.split("class=\"line").nth(1).unwrap();
    let d = line.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
    d.split(['M', 'L'])
        .filter(|part| !part.is_empty())
        .map(|pair| {
            let (x, y) = pair.split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        })
        .collect()
}

#[test]
fn every_chart_that_a_run_has_data_for_is_drawn_and_no_other() {
    let titles = |runs: &[Run]| charts(runs).into_iter().map(|chart| chart.title).collect::<Vec<_>>();
    assert_eq!(
        titles(&[run("a")]),
        [
            "Latency, get",
            "Request sizes, get",
            "Latency over time, get",
            "Throughput",
            "Bytes in flight",
            "Operations in flight"
        ]
    );
    let moment = Run { slices: Vec::new(), ..run("a") };
    assert_eq!(titles(&[moment]), ["Latency, get", "Request sizes, get"]);
    assert_eq!(titles(&[Run::default()]), Vec::<String>::new());
}

#[test]
fn the_latency_curve_goes_through_the_percentiles() {
    let run = run("a");
    let all = charts(std::slice::from_ref(&run));
    let Mark::Curve(curve) = &all[0].marks[0] else { panic!("a curve") };
    let summary = &run.whole.operations["get"].latency_ns;
    for &(nines, value) in &curve.points {
        assert_eq!(summary.percentile(1.0 - 10f64.powf(-nines)), Some(value as u64));
    }
    // Ten thousand values have a p99.99, and no more.
    assert_eq!(curve.points.last().unwrap().0, 4.0);
    assert!(curve.band.iter().all(|&(x, low, high)| {
        let value = curve.points.iter().find(|point| point.0 == x).unwrap().1;
        low <= value && value <= high
    }));
    // On the page: to the right and up, and p90 at a quarter of the way to p99.99.
    let drawn = path(&svg(&all), "whole operation");
    assert!(drawn.is_sorted_by(|a, b| a.0 < b.0 && a.1 >= b.1));
    let (first, last) = (drawn[0].0, drawn.last().unwrap().0);
    assert!((drawn[24].0 - first - (last - first) / 4.0).abs() < 0.2, "{} {first} {last}", drawn[24].0);
}

#[test]
fn the_heatmap_has_the_slow_second_where_it_was() {
    let all = charts(&[run("a")]);
    let heat = all.iter().find(|chart| chart.title.starts_with("Latency over time")).unwrap();
    let Mark::Cells(cells) = &heat.marks[0] else { panic!("cells lie at the back") };
    for cell in cells {
        let slow = cell.y.1 > 500_000.0;
        assert_eq!(slow, cell.x == (6.0, 7.0), "{cell:?}");
        assert!(cell.weight > 0.0 && cell.weight <= 1.0);
    }
}

#[test]
fn what_is_in_flight_is_held_against_its_cap() {
    let all = charts(&[run("a")]);
    let level = all.iter().find(|chart| chart.title == "Bytes in flight").unwrap();
    let ends: Vec<(&str, f64)> = level
        .marks
        .iter()
        .map(|mark| match mark {
            Mark::Curve(curve) => (&*curve.name, curve.points.last().unwrap().1),
            _ => panic!("lines only"),
        })
        .collect();
    let mib = |n: u64| (n << 20) as f64;
    assert_eq!(ends, [("at the reading", mib(10)), ("peak until then", mib(10)), ("cap", mib(64))]);
    assert!(level.y.high > mib(64), "the cap is in the picture");
}

#[test]
fn two_runs_share_axes_and_have_colours_of_their_own() {
    let all = charts(&[run("before"), run("after")]);
    let drawn = svg(&all);
    assert_eq!(path(&drawn, "before"), path(&drawn, "after"), "equal runs lie on each other");
    assert!(drawn.contains("class=\"line s0") && drawn.contains("class=\"line s1"));
    assert!(all.iter().any(|chart| chart.title == "Latency over time, get: after"));
    let Mark::Bars { name, colour, .. } = &all[1].marks[1] else { panic!("bars") };
    assert_eq!((&**name, *colour), ("after", 1));
}

#[test]
fn a_page_needs_nothing_else_and_names_cannot_break_it() {
    let hostile = "a<script>&\"'\u{1b}[31m";
    let page = html(hostile, hostile, &charts(&[run(hostile), run("b")]));
    assert!(!page.contains("<script") && !page.contains('\u{1b}'));
    for outside in ["http://", "https://", "url(", "@import", "@font-face", "<img", "<link"] {
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(outside), "{outside}");
    }
    let opened = page.matches("<g ").count();
    assert_eq!(opened, page.matches("</g>").count());
}

#[test]
fn a_plot_keeps_to_its_columns_and_alphabet() {
    for chart in charts(&[run("a rather long name for a run, as files have"), run("b")]) {
        for width in [40, 80, 133] {
            let plot = Plot::new(&chart).width(width);
            let (text, ascii) = (plot.to_string(), plot.ascii(true).to_string());
            for line in text.lines().chain(ascii.lines()) {
                assert!(line.chars().count() <= width, "{line:?}");
            }
            assert!(ascii.is_ascii(), "{ascii}");
            assert!(!text.contains('\u{1b}'));
            assert!(plot.coloured(true).to_string().contains("\u{1b}["));
        }
    }
}

#[test]
fn a_plot_reads_like_this() {
    let all = charts(&[run("a")]);
    let text: String = all.iter().map(|chart| format!("{}\n", Plot::new(chart))).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn many_intervals_are_put_together() {
    let collector = MetricsCollector::new();
    let readings: Vec<(Duration, MetricsSnapshot)> = (1..=2_000)
        .map(|i| {
            gets(&collector, std::iter::once(1_000 * i));
            (Duration::from_millis(i), collector.snapshot())
        })
        .collect();
    let slices = Slice::between(readings.iter().map(|(at, snapshot)| (*at, snapshot))).unwrap();
    let all = charts(&[Run { name: String::new(), whole: collector.snapshot(), slices }]);
    let drawn = svg(&all);
    assert!(drawn.len() < 200_000, "{} bytes", drawn.len());
    let heat = all.iter().find(|chart| chart.title.starts_with("Latency over time")).unwrap();
    let Mark::Cells(cells) = &heat.marks[0] else { panic!("cells") };
    assert!((cells.last().unwrap().x.1 - 2.0).abs() < 1e-9, "none is left out");
}

#[test]
fn slices_of_processes_side_by_side_are_joined_by_time() {
    let (a, b) = (run("a"), run("b"));
    let joined = Slice::join(&a.slices, &b.slices).unwrap();
    assert_eq!(joined.len(), 10);
    assert!(joined.iter().all(|slice| slice.happened.operations["get"].ops == 2_000));
    assert_eq!(joined[6].begin, Duration::from_secs(6));
}

#[test]
fn levels_of_processes_side_by_side_stay_below_their_peaks_and_caps() {
    let process = |levels: &[u64]| {
        let collector = MetricsCollector::new();
        collector.inflight_bytes().set_cap(100);
        let readings: Vec<_> = (1..)
            .zip(levels)
            .map(|(i, &level)| {
                collector.inflight_bytes().add(level);
                let snapshot = collector.snapshot();
                collector.inflight_bytes().sub(level);
                (Duration::from_millis(i), snapshot)
            })
            .collect();
        Slice::between(readings.iter().map(|(at, snapshot)| (*at, snapshot))).unwrap()
    };
    // Twice as often as the other reads: two of its slices lie in each step.
    let often = process(&[90, 80, 70, 95]);
    let mut seldom = process(&[60, 99]);
    for slice in &mut seldom {
        (slice.begin, slice.end) = (slice.begin * 2, slice.end * 2);
    }
    let joined = Slice::join(&often, &seldom).unwrap();
    let levels: Vec<_> = joined.iter().map(|slice| slice.happened.inflight_bytes).collect();
    let expected = [(90, 90), (99, 99)].map(|(level, peak)| GaugeReading { level, peak, cap: Some(100) });
    assert_eq!(levels, expected);
}
