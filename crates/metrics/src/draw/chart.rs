//! What a chart shows, as data: two axes and marks upon them, in the units of what was measured.

use crate::draw::axis::Axis;

/// One chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it is of.
    pub title: String,
    /// How to read it, in a sentence.
    pub note: String,
    /// From left to right.
    pub x: Axis,
    /// From the bottom up.
    pub y: Axis,
    /// What is drawn, the first at the back.
    pub marks: Vec<Mark>,
}

/// Something drawn into a chart.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A line.
    Curve(Curve),
    /// Bars from the bottom, beside those of other marks of the same places.
    Bars {
        /// In the legend.
        name: String,
        /// Which of the colours, from 0.
        colour: usize,
        /// From left to right.
        bars: Vec<Bar>,
    },
    /// Rectangles that are the darker the more there is in them.
    Cells(Vec<Cell>),
}

/// A line through points.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// In the legend.
    pub name: String,
    /// Which of the colours, from 0.
    pub colour: usize,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Whether a value stays until the next point instead of changing on the way there.
    pub steps: bool,
    /// Places on both axes, rising on the first.
    pub points: Vec<(f64, f64)>,
    /// Around the line: place on the first axis, and between which two on the second the value lies.
    pub band: Vec<(f64, f64, f64)>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Throughout.
    Solid,
    /// With gaps: what limits, or goes with, another line.
    Dashed,
}

/// A bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Where it begins on the first axis.
    pub from: f64,
    /// Where it ends there.
    pub below: f64,
    /// How high it is.
    pub value: f64,
}

/// A rectangle of a heatmap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// From where to where on the first axis.
    pub x: (f64, f64),
    /// From where to where on the second.
    pub y: (f64, f64),
    /// How much there is in it, above 0 and up to 1, which is the most of all.
    pub weight: f64,
}
