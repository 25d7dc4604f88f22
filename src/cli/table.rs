//! Tables for the terminal: a header, and columns as wide as their widest cell. A table that is wider than the terminal
//! loses the columns that it can spare; if it is still too wide, it is written as one block for each row.

use std::fmt;

use super::output::{self, Format, QUIET, STRONG, Style, styled};
use crate::prose;

/// Text of a cell, and its style.
pub(super) struct Cell {
    text: String,
    style: Option<Style>,
    /// Characters that are shown, unless the format is wide.
    most: usize,
    /// Whether it is shortened to the rest of the line, unless the format is wide.
    fills: bool,
}

/// Least width of a column that fills the rest of the line; narrower terminals get blocks.
const LEAST: usize = 16;

impl Cell {
    /// Without a style.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: None, most: usize::MAX, fills: false }
    }

    /// The first characters; the whole text with `-o wide`.
    pub fn short(text: impl Into<String>, most: usize) -> Self {
        Self { text: text.into(), style: None, most, fills: false }
    }

    /// The last text of a row, shortened to the rest of the line; the whole text with `-o wide`.
    pub fn filling(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: None, most: usize::MAX, fills: true }
    }

    /// In a style.
    pub fn styled(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Some(style), most: usize::MAX, fills: false }
    }
}

/// A table with a header.
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// Columns that a narrow terminal does not show, the least important first.
    spare: &'static [&'static str],
}

impl Table {
    /// With a header and no rows.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new(), spare: &[] }
    }

    /// Leaves out these columns, one after another, while the table does not fit the terminal; `-o wide` shows them.
    pub fn spare(mut self, columns: &'static [&'static str]) -> Self {
        self.spare = columns;
        self
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in a format for people: with `-o wide` nothing is shortened, otherwise it fits the terminal if possible.
    pub fn text(self, format: Format) -> String {
        if format == Format::Wide { self.to_string() } else { self.within(output::width()) }
    }

    pub fn within(mut self, width: Option<usize>) -> String {
        for cell in self.rows.iter_mut().flatten() {
            if let Some((end, _)) = cell.text.char_indices().nth(cell.most) {
                cell.text.truncate(end);
            }
        }
        let blocks = self.blocks(width);
        if !self.narrow(width) {
            return blocks;
        }
        self.shorten(width);
        self.to_string()
    }

    /// Leaves out spare columns until the table fits `width` columns; whether it fits.
    fn narrow(&mut self, width: Option<usize>) -> bool {
        let Some(width) = width else { return true };
        for name in self.spare {
            if self.least_width() <= width {
                break;
            }
            let Some(place) = self.header.iter().position(|column| column == name) else { continue };
            self.header.remove(place);
            for row in &mut self.rows {
                row.remove(place);
            }
        }
        self.least_width() <= width
    }

    /// Columns of the terminal that the table needs at least: cells that fill the rest of the line need [`LEAST`].
    fn least_width(&self) -> usize {
        let widths = self.widths_of(|cell| {
            let width = cell.text.chars().count();
            if cell.fills { width.min(LEAST) } else { width }
        });
        widths.iter().sum::<usize>() + 2 * self.header.len().saturating_sub(1)
    }

    /// Shortens the cells that fill the rest of the line to `width` columns.
    fn shorten(&mut self, width: Option<usize>) {
        let Some(width) = width else { return };
        let widths = self.widths();
        let before = self.header.len().saturating_sub(1);
        let others = widths.iter().take(before).sum::<usize>() + 2 * before;
        let left = width.saturating_sub(others).max(1);
        for cell in self.rows.iter_mut().filter_map(|row| row.last_mut()).filter(|cell| cell.fills) {
            if cell.text.chars().count() > left {
                cell.text = cell.text.chars().take(left - 1).chain(['…']).collect();
            }
        }
    }

    /// One block for each row, with all columns.
    fn blocks(&self, width: Option<usize>) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let mut cells = self.header.iter().zip(row).filter(|(_, cell)| !cell.text.is_empty());
            if let Some((_, first)) = cells.next() {
                text.push_str(&styled(STRONG, &first.text));
            }
            for (name, cell) in cells {
                let name = name.to_lowercase();
                let value = prose::fold(&cell.text, name.len() + 4, 4, width);
                text.push_str("\n  ");
                text.push_str(&styled(QUIET, format_args!("{name}:")));
                text.push(' ');
                text.push_str(&cell.style.map_or_else(|| value.clone(), |style| styled(style, &value)));
            }
            text.push('\n');
        }
        text.trim_end().to_owned()
    }

    fn widths(&self) -> Vec<usize> {
        self.widths_of(|cell| cell.text.chars().count())
    }

    fn widths_of(&self, of_cell: impl Fn(&Cell) -> usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(of_cell(cell));
            }
        }
        widths
    }
}

/// Lines without a line break at the end.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let padded = |text: &str, column: usize| {
            // The last column needs no trailing spaces.
            let blanks =
                if column + 1 == widths.len() { 0 } else { widths[column].saturating_sub(text.chars().count()) + 2 };
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

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "READY"]);
        table.row([Cell::plain("a"), Cell::plain("yes")]);
        table.row([Cell::plain("longer"), Cell::plain("no")]);
        let text = plain(&table.to_string());
        assert_eq!(text, "NAME    READY\na       yes\nlonger  no");
    }

    #[test]
    fn a_table_that_is_too_wide_becomes_blocks() {
        let table = || {
            let mut table = Table::new(&["NAME", "READY", "API SERVER"]);
            table.row([Cell::plain("a"), Cell::plain("yes"), Cell::plain("https://cluster.example:6443")]);
            table.row([Cell::plain("b"), Cell::plain(""), Cell::plain("none")]);
            table
        };
        let text = plain(&table().within(Some(30)));
        assert_eq!(text, "a\n  ready: yes\n  api server: https://cluster.example:6443\nb\n  api server: none");
        assert_eq!(table().within(Some(80)), table().to_string());
    }

    /// Before: `targets` was a table from 94 columns on, and blocks on a usual terminal of 80.
    #[test]
    fn narrow_table_omits_optional_columns() {
        let within = |width| {
            let mut table = Table::new(&["NAME", "VERSION", "API SERVER"]).spare(&["VERSION", "API SERVER"]);
            table.row([Cell::plain("dev"), Cell::plain("0.1.0"), Cell::filling("https://cluster.example:6443")]);
            plain(&table.within(width))
        };
        assert!(within(None).starts_with("NAME  VERSION  API SERVER\n"));
        assert_eq!(within(Some(40)), "NAME  VERSION  API SERVER\ndev   0.1.0    https://cluster.example:…");
        assert_eq!(within(Some(24)), "NAME  API SERVER\ndev   https://cluster.e…");
        assert_eq!(within(Some(10)), "NAME\ndev");
        assert_eq!(within(Some(3)), "dev\n  version: 0.1.0\n  api server: https://cluster.example:6443", "all columns");
    }

    /// Before: a long last column turned the table into blocks, or was cut without a mark.
    #[test]
    fn last_column_is_shortened_to_the_terminal() {
        let shortened = |width| {
            let mut table = Table::new(&["NAME", "MESSAGE"]);
            table.row([Cell::plain("a"), Cell::filling("the weights add up to 110, not to 100")]);
            plain(&table.within(width))
        };
        assert_eq!(shortened(Some(26)), "NAME  MESSAGE\na     the weights add up …");
        assert_eq!(shortened(None), "NAME  MESSAGE\na     the weights add up to 110, not to 100");
        assert!(shortened(Some(20)).starts_with("a\n  message: "), "{}", shortened(Some(20)));
    }

    #[test]
    fn short_cell_is_not_cut_in_the_wide_format() {
        let table = || {
            let mut table = Table::new(&["KEY"]);
            table.row([Cell::short("0123456789", 4)]);
            table
        };
        assert_eq!(plain(&table().within(Some(80))), "KEY\n0123");
        assert_eq!(plain(&table().text(Format::Wide)), "KEY\n0123456789");
    }
}
