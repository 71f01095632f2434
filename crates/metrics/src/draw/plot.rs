//! A chart for a terminal: with characters of Unicode or plain ASCII, in colours or without.
//!
//! Without colours lines are told apart by the character they are made of; in colours, or alone, they are made
//! of Braille dots, which are eight times as fine.

use std::fmt;

use crate::draw::canvas::{Canvas, Dots};
use crate::draw::chart::{Chart, Curve, Mark, Stroke};

const LINE_MARKS: [char; 6] = ['•', '×', '+', 'o', '◦', '#'];
const ASCII_MARKS: [char; 6] = ['*', 'x', '+', 'o', '.', '#'];
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];
const ASCII_SHADES: [char; 8] = ['.', ':', '-', '=', '+', '*', '%', '@'];
/// As the colours of a page: blue, red, green, magenta, yellow, cyan.
const COLOURS: [u8; 6] = [34, 31, 32, 35, 33, 36];
/// Parts of a cell from its bottom.
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A chart as text; write it with `{}`. Every line ends with a line feed.
#[derive(Clone, Copy, Debug)]
pub struct Plot<'a> {
    chart: &'a Chart,
    width: usize,
    height: usize,
    ascii: bool,
    coloured: bool,
}

impl<'a> Plot<'a> {
    /// 80 columns wide, without colours.
    pub fn new(chart: &'a Chart) -> Plot<'a> {
        Plot { chart, width: 80, height: 16, ascii: false, coloured: false }
    }

    /// No line is longer than so many columns; 40 at least.
    #[must_use]
    pub fn width(self, columns: usize) -> Plot<'a> {
        Plot { width: columns.max(40), ..self }
    }

    /// Without any character beyond ASCII.
    #[must_use]
    pub fn ascii(self, ascii: bool) -> Plot<'a> {
        Plot { ascii, ..self }
    }

    /// With ANSI colours. Whether the reader is a terminal that wants them is the caller's to find out.
    #[must_use]
    pub fn coloured(self, coloured: bool) -> Plot<'a> {
        Plot { coloured, ..self }
    }

    fn curves(&self) -> impl Iterator<Item = &Curve> {
        self.chart.marks.iter().filter_map(|mark| match mark {
            Mark::Curve(curve) => Some(curve),
            _ => None,
        })
    }

    /// How the line with this number is drawn.
    fn dots(&self, number: usize) -> Dots {
        // Over shades, dots could not be seen.
        let over_cells = self.chart.marks.iter().any(|mark| matches!(mark, Mark::Cells(_)));
        let alone = self.curves().count() == 1;
        match self.ascii {
            true => Dots::Mark(ASCII_MARKS[number % ASCII_MARKS.len()]),
            false if !over_cells && (alone || self.coloured) => Dots::Braille,
            false => Dots::Mark(LINE_MARKS[number % LINE_MARKS.len()]),
        }
    }

    fn canvas(&self, columns: usize) -> Canvas {
        let mut canvas = Canvas::new(columns, self.height);
        let (x, y) = (&self.chart.x, &self.chart.y);
        let mut number = 0;
        let groups = self.chart.marks.iter().filter(|mark| matches!(mark, Mark::Bars { .. })).count();
        let mut group = 0;
        for mark in &self.chart.marks {
            match mark {
                Mark::Cells(cells) => self.shade(&mut canvas, columns, cells),
                Mark::Curve(curve) => {
                    let (dots, mut last) = (self.dots(number), None);
                    number += 1;
                    for &(a, b) in &curve.points {
                        let here = (x.place(a), y.place(b));
                        if let Some(last @ (_, level)) = last {
                            match curve.steps {
                                true => {
                                    canvas.line(last, (here.0, level), dots, curve.colour);
                                    canvas.line((here.0, level), here, dots, curve.colour);
                                }
                                false => canvas.line(last, here, dots, curve.colour),
                            }
                        } else {
                            canvas.line(here, here, dots, curve.colour);
                        }
                        last = Some(here);
                    }
                }
                Mark::Bars { colour, bars, .. } => {
                    for bar in bars.iter().filter(|bar| bar.value > 0.0) {
                        let from = x.place(bar.from) * columns as f64;
                        let each = (x.place(bar.below) * columns as f64 - from) / groups as f64;
                        let from = from + each * group as f64;
                        let first = from.round() as usize;
                        // One column is left free between bars that have room for it.
                        let end = (from + each).round() as usize;
                        let last =
                            if end - first > 3 && group + 1 == groups { end - 1 } else { end.max(first + 1) };
                        for column in first..last {
                            self.bar(&mut canvas, column, y.place(bar.value), (group, *colour));
                        }
                    }
                    group += 1;
                }
            }
        }
        canvas
    }

    fn bar(&self, canvas: &mut Canvas, column: usize, part: f64, (group, colour): (usize, usize)) {
        let eighths = ((part * self.height as f64 * 8.0).round() as usize).max(1);
        for row in 0..eighths.div_ceil(8) {
            let filled = (eighths - row * 8).min(8);
            let glyph = match (self.ascii, group) {
                (true, _) => ASCII_MARKS[(group + 5) % ASCII_MARKS.len()],
                // Without colours a second bar beside the first must look different.
                (false, 1..) if !self.coloured => SHADES[(group - 1) % 2],
                _ => EIGHTHS[filled - 1],
            };
            canvas.set(column, self.height.saturating_sub(row + 1), glyph, colour);
        }
    }

    fn shade(&self, canvas: &mut Canvas, columns: usize, cells: &[crate::draw::chart::Cell]) {
        let mut weights = vec![0.0f64; columns * self.height];
        for cell in cells {
            let (left, right) = (self.chart.x.place(cell.x.0), self.chart.x.place(cell.x.1));
            let (low, high) = (self.chart.y.place(cell.y.0), self.chart.y.place(cell.y.1));
            let span = |low: f64, high: f64, n: usize| {
                let first = ((low * n as f64 + 1e-6).floor() as usize).min(n - 1);
                first..((high * n as f64 - 1e-6).ceil() as usize).clamp(first + 1, n)
            };
            for column in span(left, right, columns) {
                for row in span(low, high, self.height) {
                    let weight = &mut weights[(self.height - 1 - row) * columns + column];
                    *weight = weight.max(cell.weight);
                }
            }
        }
        let shades: &[char] = if self.ascii { &ASCII_SHADES } else { &SHADES };
        for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            let shade = ((weight * shades.len() as f64).ceil() as usize).clamp(1, shades.len()) - 1;
            canvas.set(at % columns, at / columns, shades[shade], 0);
        }
    }

    fn paint(&self, colour: usize, text: &str) -> String {
        match self.coloured {
            true => format!("\x1b[{}m{text}\x1b[0m", COLOURS[colour % COLOURS.len()]),
            false => text.to_owned(),
        }
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<(String, usize)> = Vec::new();
        for (number, curve) in self.curves().enumerate() {
            let glyph = match self.dots(number) {
                Dots::Mark(glyph) => glyph,
                Dots::Braille => '⠤',
            };
            let dashes = match (curve.stroke, self.dots(number)) {
                (Stroke::Dashed, Dots::Braille) if !self.coloured => " (dashed)",
                _ => "",
            };
            parts.push((format!("{glyph}{glyph} {}{dashes}", curve.name), curve.colour));
        }
        let bars = self.chart.marks.iter().filter_map(|mark| match mark {
            Mark::Bars { name, colour, .. } => Some((name, *colour)),
            _ => None,
        });
        for (group, (name, colour)) in bars.enumerate() {
            let glyph = match (self.ascii, group) {
                (true, _) => ASCII_MARKS[(group + 5) % ASCII_MARKS.len()],
                (false, 1..) if !self.coloured => SHADES[(group - 1) % 2],
                _ => '█',
            };
            parts.push((format!("{glyph}{glyph} {name}"), colour));
        }
        if parts.len() < 2 {
            return Ok(());
        }
        let mut column = 0;
        for (text, colour) in parts {
            // Names are file names and may be of any length.
            let text = fit(&text, self.width - 4, self.ascii);
            let length = text.chars().count() + 2;
            if column > 0 && column + length > self.width {
                writeln!(f)?;
                column = 0;
            }
            write!(f, "  {}", self.paint(colour, &text))?;
            column += length;
        }
        writeln!(f)
    }
}

/// The text, or as much of it as goes into so many columns. Characters that steer a terminal are not shown.
fn fit(text: &str, columns: usize, ascii: bool) -> String {
    let shown = |c: char| if c.is_control() || (ascii && !c.is_ascii()) { '?' } else { c };
    let mut text: String = text.chars().map(shown).collect();
    if let Some((at, _)) = text.char_indices().nth(columns) {
        text.truncate(at);
    }
    text
}

/// As ASCII, where that is wanted: a unit is `us` then.
fn plain(text: &str, ascii: bool) -> String {
    if ascii { text.replace('µ', "u") } else { text.to_owned() }
}

impl fmt::Display for Plot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = fit(&self.chart.title, self.width, self.ascii);
        match self.coloured {
            true => writeln!(f, "\x1b[1m{title}\x1b[0m")?,
            false => writeln!(f, "{title}")?,
        }
        self.legend(f)?;
        let marks = self.chart.y.marks(6);
        let mut labels = vec![String::new(); self.height];
        for (value, text) in marks {
            let row = ((1.0 - self.chart.y.place(value)) * (self.height - 1) as f64).round() as usize;
            labels[row] = plain(&text, self.ascii);
        }
        let margin = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        let columns = self.width - margin - 3;
        let canvas = self.canvas(columns);
        let (edge, corner, across, tick) =
            if self.ascii { ('|', '+', '-', '+') } else { ('┤', '└', '─', '┬') };
        let bare = if self.ascii { '|' } else { '│' };
        for (row, label) in labels.iter().enumerate() {
            let edge = if label.is_empty() { bare } else { edge };
            let cells = canvas.row(row);
            let used = cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            let mut line = String::new();
            for cell in &cells[..used] {
                match cell {
                    None => line.push(' '),
                    Some(cell) => line.push_str(&self.paint(cell.colour, &cell.glyph.to_string())),
                }
            }
            writeln!(f, "{label:>margin$} {edge}{line}")?;
        }
        let mut rule: Vec<char> = vec![across; columns];
        let mut below: Vec<char> = vec![' '; columns + 1];
        let mut free = 0;
        for (value, text) in self.chart.x.marks((columns / 11).max(2)) {
            let text: Vec<char> = plain(&text, self.ascii).chars().collect();
            let at = (self.chart.x.place(value) * (columns - 1) as f64).round() as usize;
            rule[at] = tick;
            let begin = at.saturating_sub(text.len() / 2).min((columns + 1).saturating_sub(text.len()));
            if begin >= free {
                below[begin..begin + text.len()].copy_from_slice(&text);
                free = begin + text.len() + 1;
            }
        }
        writeln!(f, "{:margin$} {corner}{}", "", rule.iter().collect::<String>())?;
        let below: String = below.iter().collect();
        writeln!(f, "{:margin$}  {}", "", below.trim_end())?;
        let label = fit(&self.chart.x.label, columns, self.ascii);
        let line = format!("{:margin$}  {label:^columns$}", "");
        writeln!(f, "{}", line.trim_end())
    }
}
