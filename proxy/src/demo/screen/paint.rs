//! Text in cells: padded and cut by characters, coloured only where wanted.

use std::fmt::Write as _;

/// What a piece of text is, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
    /// PHI in clear, shown to someone entitled; also what went well.
    Clear,
    /// PHI that its holder can't read.
    Sealed,
    /// PHI shown in part, or as a token.
    Partial,
    /// Refusals, and what went wrong.
    Bad,
}

impl Ink {
    /// The parameters of ECMA-48's SGR.
    const fn code(self) -> Option<&'static str> {
        match self {
            Ink::Plain => None,
            Ink::Bold => Some("1"),
            Ink::Dim => Some("2"),
            Ink::Clear => Some("32"),
            Ink::Sealed => Some("34"),
            Ink::Partial => Some("33"),
            Ink::Bad => Some("31"),
        }
    }
}

/// A piece of text and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) ink: Ink,
}

/// A cell.
pub(crate) fn cell(text: impl Into<String>, ink: Ink) -> Cell {
    let text = text.into();
    // What is shown came over the network: no control character may reach the terminal.
    let text = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Cell { text, ink }
}

/// Lines that are being written.
pub(crate) struct Page {
    pub(crate) colour: bool,
    /// The screen's width: whatever a row has beyond it is cut.
    pub(crate) width: usize,
    pub(crate) text: String,
}

impl Page {
    /// Cells side by side, each at the width given; the rest of the line stays empty.
    pub(crate) fn row(&mut self, cells: &[(Cell, usize)]) {
        let mut line = String::new();
        let mut room = self.width;
        for (cell, width) in cells {
            self.put(&mut line, cell, room.min(*width));
            room = room.saturating_sub(*width);
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// One text on a line of its own.
    pub(crate) fn line(&mut self, text: impl Into<String>, ink: Ink) {
        self.row(&[(cell(text, ink), self.width)]);
    }

    /// A text that is there to be copied, and so never cut.
    pub(crate) fn uncut(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    fn put(&self, line: &mut String, cell: &Cell, width: usize) {
        let shown = fit(&cell.text, width);
        if shown.is_empty() && width == 0 {
            return;
        }
        let padding = width.saturating_sub(shown.chars().count());
        // Writing to a String can't fail.
        let _written = match cell.ink.code().filter(|_| self.colour) {
            Some(code) => write!(line, "\x1b[{code}m{shown}\x1b[0m{:padding$}", ""),
            None => write!(line, "{shown}{:padding$}", ""),
        };
    }
}

/// The text, cut with an ellipsis if it has more characters than `width`.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_characters_not_bytes() {
        assert_eq!(fit("grüße", 5), "grüße");
        assert_eq!(fit("grüße", 4), "grü…");
        assert_eq!(fit("x", 0), "");
    }

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let cells = [(cell("a", Ink::Clear), 4), (cell("b", Ink::Plain), 1)];
        let mut plain = Page {
            colour: false,
            width: 80,
            text: String::new(),
        };
        plain.row(&cells);
        assert_eq!(plain.text, "a   b\n");
        let mut coloured = Page {
            colour: true,
            width: 80,
            text: String::new(),
        };
        coloured.row(&cells);
        assert_eq!(coloured.text, "\x1b[32ma\x1b[0m   b\n");
    }

    #[test]
    fn what_came_over_the_network_moves_no_cursor() {
        assert_eq!(cell("\x1b[2Jx\n", Ink::Plain).text, " [2Jx ");
    }
}
