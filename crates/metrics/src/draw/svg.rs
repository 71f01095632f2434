//! Charts as one SVG: no script, no font and no picture from elsewhere, and legible on light and dark ground.
//!
//! Colours are in one style sheet at the top, with a second set for readers who asked for a dark page. They are
//! those of Okabe and Ito, which people who do not see all colours can tell apart; lines that belong together
//! differ in their dashes too.

use std::fmt::Write;

use crate::draw::axis::Axis;
use crate::draw::chart::{Bar, Cell, Chart, Curve, Mark, Stroke};

/// Sizes in pixels. The text beside an axis must hold `1,000 MiB/s`.
const WIDTH: f64 = 860.0;
const PLOT_HEIGHT: f64 = 260.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 30.0;
const LEGEND_LINE: f64 = 18.0;
/// Shades of a heatmap. More are not told apart, and each is one path.
const SHADES: usize = 16;

pub(super) const STYLE: &str = "\
.paper{fill:#fff}.ink{fill:#24292f}.soft{fill:#57606a}.grid{stroke:#d8dee4;stroke-width:1}\
.edge{stroke:#8c959f;stroke-width:1}.heat{fill:#0072b2}.line{fill:none;stroke-width:2;stroke-linejoin:round}\
.dashed{stroke-dasharray:6 4}text{font:12px system-ui,sans-serif}.title{font-size:15px;font-weight:600}\
.s0{stroke:#0072b2}.f0{fill:#0072b2}.s1{stroke:#d55e00}.f1{fill:#d55e00}.s2{stroke:#009e73}.f2{fill:#009e73}\
.s3{stroke:#cc79a7}.f3{fill:#cc79a7}.s4{stroke:#b8860b}.f4{fill:#b8860b}.s5{stroke:#56b4e9}.f5{fill:#56b4e9}\
.band{fill-opacity:.18}\
@media (prefers-color-scheme:dark){.paper{fill:#0d1117}.ink{fill:#e6edf3}.soft{fill:#9198a1}\
.grid{stroke:#2a313c}.edge{stroke:#656c76}.heat{fill:#58a6ff}.s0{stroke:#58a6ff}.f0{fill:#58a6ff}\
.s1{stroke:#ff8c42}.f1{fill:#ff8c42}.s4{stroke:#f0c040}.f4{fill:#f0c040}}";
const COLOURS: usize = 6;

/// All charts, one beneath the other.
pub fn svg(charts: &[Chart]) -> String {
    let mut body = String::new();
    let mut top = 0.0;
    for chart in charts {
        let (drawn, height) = one(chart);
        let _ = writeln!(body, "<g transform=\"translate(0 {top})\">{drawn}</g>");
        top += height + 24.0;
    }
    wrapped(&body, top.max(1.0))
}

/// A drawing of its own for one chart.
pub(super) fn figure(chart: &Chart) -> String {
    let (drawn, height) = one(chart);
    wrapped(&drawn, height)
}

fn wrapped(body: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\"><style>{STYLE}</style>\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n"
    )
}

/// Where the axes are on the page.
struct Frame<'a> {
    x: &'a Axis,
    y: &'a Axis,
    top: f64,
}

impl Frame<'_> {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + (1.0 - self.y.place(value)) * PLOT_HEIGHT
    }
}

/// The chart and how high it is.
fn one(chart: &Chart) -> (String, f64) {
    let mut out = String::new();
    let legend = legend(chart);
    let top = 38.0 + legend.1;
    let frame = Frame { x: &chart.x, y: &chart.y, top };
    let _ = write!(
        out,
        "<g class=\"chart\"><text class=\"ink title\" x=\"{LEFT}\" y=\"24\">{}</text>",
        escaped(&chart.title)
    );
    out.push_str(&legend.0);
    axes(&mut out, &frame);
    let bars = chart.marks.iter().filter(|mark| matches!(mark, Mark::Bars { .. })).count();
    let mut bar = 0;
    for mark in &chart.marks {
        match mark {
            Mark::Cells(all) => cells(&mut out, &frame, all),
            Mark::Curve(curve) => line(&mut out, &frame, curve),
            Mark::Bars { name, colour, bars: all } => {
                bar_group(&mut out, &frame, (name, *colour), all, (bar, bars));
                bar += 1;
            }
        }
    }
    let mut y = top + PLOT_HEIGHT + 58.0;
    for part in broken(&chart.note, 118) {
        let _ = write!(out, "<text class=\"soft\" x=\"{LEFT}\" y=\"{y}\">{}</text>", escaped(&part));
        y += 16.0;
    }
    out.push_str("</g>");
    (out, y)
}

/// Names and colours of what is drawn, and how much room they take. One mark needs no telling apart.
fn legend(chart: &Chart) -> (String, f64) {
    let named: Vec<(&str, usize, Option<Stroke>)> = chart
        .marks
        .iter()
        .filter_map(|mark| match mark {
            Mark::Curve(curve) => Some((&*curve.name, curve.colour, Some(curve.stroke))),
            Mark::Bars { name, colour, .. } => Some((&**name, *colour, None)),
            Mark::Cells(_) => None,
        })
        .collect();
    let mut out = String::new();
    if named.len() < 2 && !chart.marks.iter().any(|mark| matches!(mark, Mark::Cells(_))) {
        return (out, 0.0);
    }
    let (mut x, mut y) = (LEFT, 40.0);
    for (name, colour, stroke) in named {
        let width = 44.0 + 7.0 * name.chars().count() as f64;
        if x > LEFT && x + width > WIDTH - RIGHT {
            (x, y) = (LEFT, y + LEGEND_LINE);
        }
        let _ = match stroke {
            Some(stroke) => write!(
                out,
                "<path class=\"line s{}{}\" d=\"M{x} {y}h24\"/>",
                colour % COLOURS,
                dashes(stroke)
            ),
            None => write!(
                out,
                "<rect class=\"f{}\" x=\"{x}\" y=\"{}\" width=\"24\" height=\"10\"/>",
                colour % COLOURS,
                y - 5.0
            ),
        };
        let _ =
            write!(out, "<text class=\"ink\" x=\"{}\" y=\"{}\">{}</text>", x + 30.0, y + 4.0, escaped(name));
        x += width;
    }
    (out, y - 40.0 + LEGEND_LINE)
}

fn axes(out: &mut String, frame: &Frame<'_>) {
    let (bottom, right) = (frame.top + PLOT_HEIGHT, WIDTH - RIGHT);
    let height = PLOT_HEIGHT;
    let marks = frame.x.marks(9);
    let mut free = f64::NEG_INFINITY;
    for (value, text) in marks {
        let x = frame.x(value);
        let _ = write!(out, "<path class=\"grid\" d=\"M{x:.1} {}v{height}\"/>", frame.top);
        // The text of one mark must not run into that of the next.
        let half = 3.6 * text.chars().count() as f64;
        if x - half > free {
            free = x + half + 4.0;
            let y = bottom + 18.0;
            let text = escaped(&text);
            let _ = write!(
                out,
                "<text class=\"ink\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y}\">{text}</text>"
            );
        }
    }
    let mut free = f64::INFINITY;
    for (value, text) in frame.y.marks(7) {
        let y = frame.y(value);
        let _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
        if y + 7.0 < free {
            free = y - 7.0;
            let (x, y) = (LEFT - 8.0, y + 4.0);
            let text = escaped(&text);
            let _ =
                write!(out, "<text class=\"ink\" text-anchor=\"end\" x=\"{x}\" y=\"{y:.1}\">{text}</text>");
        }
    }
    let _ = write!(out, "<path class=\"edge\" fill=\"none\" d=\"M{LEFT} {}v{height}H{right}\"/>", frame.top);
    let middle = (LEFT + right) / 2.0;
    let label = escaped(&frame.x.label);
    let _ = write!(
        out,
        "<text class=\"soft\" text-anchor=\"middle\" x=\"{middle}\" y=\"{}\">{label}</text>",
        bottom + 36.0
    );
    let (y, label) = (frame.top + height / 2.0, escaped(&frame.y.label));
    let _ = write!(
        out,
        "<text class=\"soft\" text-anchor=\"middle\" transform=\"translate(16 {y}) rotate(-90)\">{label}</text>"
    );
}

fn line(out: &mut String, frame: &Frame<'_>, curve: &Curve) {
    let colour = curve.colour % COLOURS;
    let _ = write!(out, "<g class=\"curve\" data-name=\"{}\">", escaped(&curve.name));
    if curve.band.len() > 1 {
        let mut d = String::new();
        let upper = curve.band.iter().map(|&(x, _, high)| (x, high));
        let lower = curve.band.iter().rev().map(|&(x, low, _)| (x, low));
        for (i, (x, y)) in upper.chain(lower).enumerate() {
            let _ = write!(d, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, frame.x(x), frame.y(y));
        }
        let _ = write!(out, "<path class=\"band f{colour}\" d=\"{d}z\"/>");
    }
    let mut d = String::new();
    for (i, &(x, y)) in curve.points.iter().enumerate() {
        let (x, y) = (frame.x(x), frame.y(y));
        let _ = match (i, curve.steps) {
            (0, _) => write!(d, "M{x:.1} {y:.1}"),
            (_, true) => write!(d, "H{x:.1}V{y:.1}"),
            (_, false) => write!(d, "L{x:.1} {y:.1}"),
        };
    }
    let _ = write!(out, "<path class=\"line s{colour}{}\" d=\"{d}\"/></g>", dashes(curve.stroke));
}

fn dashes(stroke: Stroke) -> &'static str {
    match stroke {
        Stroke::Solid => "",
        Stroke::Dashed => " dashed",
    }
}

fn cells(out: &mut String, frame: &Frame<'_>, cells: &[Cell]) {
    let mut shades: [String; SHADES] = Default::default();
    for cell in cells {
        let (left, right) = (frame.x(cell.x.0), frame.x(cell.x.1));
        let (bottom, top) = (frame.y(cell.y.0), frame.y(cell.y.1));
        let shade = ((cell.weight * SHADES as f64).ceil() as usize).clamp(1, SHADES) - 1;
        let (width, height) = (right - left, bottom - top);
        let _ = write!(shades[shade], "M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z");
    }
    out.push_str("<g class=\"cells\">");
    for (shade, d) in shades.iter().enumerate().filter(|(_, d)| !d.is_empty()) {
        let opacity = (shade + 1) as f64 / SHADES as f64;
        let _ = write!(out, "<path class=\"heat\" fill-opacity=\"{opacity:.3}\" d=\"{d}\"/>");
    }
    out.push_str("</g>");
}

fn bar_group(
    out: &mut String,
    frame: &Frame<'_>,
    (name, colour): (&str, usize),
    bars: &[Bar],
    (at, of): (usize, usize),
) {
    let _ = write!(out, "<g class=\"bars\" data-name=\"{}\">", escaped(name));
    for bar in bars.iter().filter(|bar| bar.value > 0.0) {
        let (left, right) = (frame.x(bar.from), frame.x(bar.below));
        let gap = ((right - left) * 0.08).min(3.0);
        let width = (right - left - 2.0 * gap) / of as f64;
        let x = left + gap + width * at as f64;
        let y = frame.y(bar.value);
        // A sliver at least for what is not nothing.
        let height = (frame.top + PLOT_HEIGHT - y).max(1.0);
        let y = frame.top + PLOT_HEIGHT - height;
        let write = |axis: &Axis, value| escaped(&axis.quantity.write(value));
        let told = format!(
            "{} to below {}: {}",
            write(frame.x, bar.from),
            write(frame.x, bar.below),
            write(frame.y, bar.value)
        );
        let _ = write!(
            out,
            "<rect class=\"f{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             <title>{told}</title></rect>",
            colour % COLOURS
        );
    }
    out.push_str("</g>");
}

/// For a text or an attribute. Names come from file names, which may hold anything; what XML cannot hold at all
/// is shown as unknown.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// Lines of at most so many characters, broken between words.
fn broken(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= columns) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
