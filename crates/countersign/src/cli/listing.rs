//! A listing that is printed page by page, so that the command holds one page and no more, however many there are. For
//! programs it is one JSON document all the same.

use super::console::{Console, row_text, widths};
use crate::failure::{Exit, Failure};
use crate::words::printable;
use serde::Serialize;

/// A listing under way.
pub(crate) struct Listing<const N: usize> {
    console: Console,
    /// The member of the JSON document that has the list.
    member: &'static str,
    headers: [&'static str; N],
    /// The widths of the columns: those of the first page, so that the lines of all pages stand below each other.
    widths: Option<[usize; N]>,
    items: u64,
    begun: bool,
    /// Whether nobody reads the output any more.
    closed: bool,
}

impl<const N: usize> Listing<N> {
    /// A listing with these columns for people, and this member for programs.
    pub(crate) fn new(console: Console, member: &'static str, headers: [&'static str; N]) -> Self {
        Self { console, member, headers, widths: None, items: 0, begun: false, closed: false }
    }

    /// Prints a page; whether anybody reads on.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(crate) fn page<T: Serialize>(
        &mut self,
        items: &[T],
        row: impl Fn(&T) -> [String; N],
    ) -> Result<bool, Failure> {
        let text = match self.console.is_json() {
            true => self.json(items)?,
            false => self.human(items, row),
        };
        self.items += u64::try_from(items.len()).unwrap_or(u64::MAX);
        self.print(&text)?;
        Ok(!self.closed)
    }

    /// Ends the listing. `more`: what it says of items that were not asked for, if there are any.
    ///
    /// # Errors
    /// When standard output does not take it.
    pub(crate) fn end(mut self, more: Option<&str>) -> Result<(), Failure> {
        let text = self.end_text(more);
        self.print(&text)
    }

    fn end_text(&self, more: Option<&str>) -> String {
        match self.console.is_json() {
            true => format!("],\"more\":{}}}\n", more.is_some()),
            false => more.map(|more| format!("{more}\n")).unwrap_or_default(),
        }
    }

    fn json<T: Serialize>(&mut self, items: &[T]) -> Result<String, Failure> {
        let mut text = match std::mem::replace(&mut self.begun, true) {
            false => format!("{{\"{}\":[", self.member),
            true => String::new(),
        };
        for (index, item) in items.iter().enumerate() {
            if index > 0 || self.items > 0 {
                text.push(',');
            }
            let item = serde_json::to_string(item)
                .map_err(|error| Failure::caused(Exit::Refused, "the answer is not valid JSON", &error))?;
            text.push_str(&item);
        }
        Ok(text)
    }

    fn human<T>(&mut self, items: &[T], row: impl Fn(&T) -> [String; N]) -> String {
        let rows: Vec<[String; N]> =
            items.iter().map(|item| row(item).map(|cell| printable(&cell))).collect();
        let headers = self.headers.map(str::to_owned);
        let is_first = self.widths.is_none();
        let widths = *self.widths.get_or_insert_with(|| widths(&headers, &rows));
        let head = is_first.then_some(&headers);
        head.into_iter().chain(&rows).map(|row| row_text(row, &widths)).collect()
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        if !self.closed {
            self.closed = !self.console.print_while_read(text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const PAGES: [&[&str]; 3] = [&["a", "long"], &["longer than those before"], &["b"]];

    fn listing(json: bool) -> Listing<2> {
        Listing::new(Console::of_process(json), "names", ["NAME", "N"])
    }

    fn row(name: &&str) -> [String; 2] {
        [(*name).to_owned(), "1".to_owned()]
    }

    #[test]
    fn pages_make_one_json_document() {
        for pages in [&PAGES[..], &PAGES[..1], &[&[]]] {
            let mut listing = listing(true);
            let mut text = String::new();
            for page in pages {
                text += &listing.json(page).unwrap();
                listing.items += u64::try_from(page.len()).unwrap();
            }
            text += &listing.end_text(None);
            let names: Vec<&str> = pages.concat();
            assert_eq!(
                serde_json::from_str::<Value>(&text).unwrap(),
                json!({ "names": names, "more": false })
            );
        }
    }

    #[test]
    fn pages_make_one_table() {
        let mut listing = listing(false);
        let text: String = PAGES.iter().map(|page| listing.human(page, row)).collect();
        let expected = "NAME  N\na     1\nlong  1\nlonger than those before  1\nb     1\n";
        assert_eq!(text + &listing.end_text(Some("there are more")), format!("{expected}there are more\n"));
    }
}
