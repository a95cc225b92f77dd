//! `countersign.toml`: every mistake is shown, none breaks the program.
#![no_main]

use countersign::config::secret_ref::ProcessEnvironment;
use countersign::config::{Colour, Surroundings, check, render};

struct Empty;

impl ProcessEnvironment for Empty {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let around = Surroundings::new("/nonexistent", &Empty);
    if let Err(mistakes) = check(text, &around) {
        assert!(!mistakes.is_empty());
        let shown = render("countersign.toml".as_ref(), text, &mistakes, Colour::Never);
        assert!(shown.contains("error[config]"));
    }
});
