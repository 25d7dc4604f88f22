//! Tables for the terminal: a header and columns as wide as their widest cell.

use std::fmt;

use super::output::{QUIET, Style, styled};

/// Text of a cell, and its style.
pub(super) struct Cell {
    text: String,
    style: Option<Style>,
}

impl Cell {
    /// Without a style.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: None }
    }

    /// In a style.
    pub fn styled(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Some(style) }
    }
}

/// See the module.
pub(super) struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// With a header and no rows.
    pub fn new(header: &[&'static str; N]) -> Self {
        Self { header: *header, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = self.header.map(str::len);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }
}

/// Lines without a line break at the end.
impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let padded = |text: &str, column: usize| {
            // The last column needs no blanks behind it.
            let blanks = if column + 1 == N { 0 } else { widths[column].saturating_sub(text.chars().count()) + 2 };
            (text.to_owned(), " ".repeat(blanks))
        };
        for (column, name) in self.header.iter().enumerate() {
            let (text, blanks) = padded(name, column);
            write!(f, "{}{blanks}", styled(QUIET, text))?;
        }
        for row in &self.rows {
            f.write_str("\n")?;
            for (column, cell) in row.iter().enumerate() {
                let (text, blanks) = padded(&cell.text, column);
                match cell.style {
                    Some(style) => write!(f, "{}{blanks}", styled(style, text))?,
                    None => write!(f, "{text}{blanks}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "READY"]);
        table.row([Cell::plain("a"), Cell::plain("yes")]);
        table.row([Cell::plain("longer"), Cell::plain("no")]);
        let text = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(text, "NAME    READY\na       yes\nlonger  no");
    }
}
