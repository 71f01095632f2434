//! A grid of characters to draw into: dots of Braille where every cell has eight, or a mark to a cell.

/// What a cell is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dots {
    /// Two dots across and four down in each cell, all alike.
    Braille,
    /// One mark a cell, which says which line it belongs to.
    Mark(char),
}

/// A cell that something was drawn into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) glyph: char,
    /// Which of the colours.
    pub(super) colour: usize,
}

/// Cells, from the top left.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    cells: Vec<Option<Filled>>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Canvas { width, height, cells: vec![None; width * height] }
    }

    pub(super) fn row(&self, row: usize) -> &[Option<Filled>] {
        &self.cells[row * self.width..(row + 1) * self.width]
    }

    /// Fills a cell whatever was in it.
    pub(super) fn set(&mut self, column: usize, row: usize, glyph: char, colour: usize) {
        if column < self.width && row < self.height {
            self.cells[row * self.width + column] = Some(Filled { glyph, colour });
        }
    }

    /// A line between two places, each from 0 to 1 from the left and from the bottom.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), dots: Dots, colour: usize) {
        let (across, down) = match dots {
            Dots::Braille => (2, 4),
            Dots::Mark(_) => (1, 1),
        };
        let (wide, high) = ((self.width * across) as f64 - 1.0, (self.height * down) as f64 - 1.0);
        let at = |(x, y): (f64, f64)| (x * wide, (1.0 - y) * high);
        let (from, to) = (at(from), at(to));
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0) as usize;
        for step in 0..=steps {
            let part = step as f64 / steps as f64;
            let x = (from.0 + (to.0 - from.0) * part).round() as usize;
            let y = (from.1 + (to.1 - from.1) * part).round() as usize;
            match dots {
                Dots::Mark(glyph) => self.set(x, y, glyph, colour),
                Dots::Braille => self.dot(x, y, colour),
            }
        }
    }

    fn dot(&mut self, x: usize, y: usize, colour: usize) {
        /// Bits of the dots of a cell, in the order of Unicode: left column, then right.
        const BITS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        let (column, row) = (x / 2, y / 4);
        if column >= self.width || row >= self.height {
            return;
        }
        let cell = &mut self.cells[row * self.width + column];
        let had = cell.map_or(0, |cell| match cell.glyph as u32 {
            code @ 0x2800..=0x28FF => code - 0x2800,
            _ => 0,
        });
        let glyph = char::from_u32(0x2800 + (had | BITS[x % 2][y % 4])).unwrap_or('·');
        *cell = Some(Filled { glyph, colour });
    }
}
