//! An error in a lesson, with its position in the file.

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, SourceSpan,
};
use std::ops::Range;
use std::sync::Arc;

/// A text with the name of its file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Source(Arc<NamedSource<String>>);

impl Source {
    /// The text of a file.
    pub fn new(name: impl AsRef<str>, text: impl Into<String>) -> Self {
        Self(Arc::new(NamedSource::new(name, text.into())))
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.inner()
    }

    /// The line of a byte, from 1.
    pub fn line_of(&self, at: usize) -> usize {
        let before = self.text().as_bytes().get(..at).unwrap_or(self.text().as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// A problem with a range of the text.
    pub fn problem(&self, at: Range<usize>, what: impl Into<String>) -> Problem {
        let end = self.text().len();
        let at = at.start.min(end)..at.end.min(end).max(at.start.min(end));
        Problem { what: what.into(), help: None, at, file: self.clone() }
    }
}

/// An error at a position in a lesson.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Problem {
    /// What was found.
    pub what: String,
    /// What would be right, or the values found.
    pub help: Option<String>,
    /// The position, in bytes.
    pub at: Range<usize>,
    file: Source,
}

impl Problem {
    /// With what would be right, or the values found.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Its line, from 1.
    pub fn line(&self) -> usize {
        self.file.line_of(self.at.start)
    }

    /// A report with file, line, column and the text of the line, with or without colours.
    pub fn report(&self, coloured: bool) -> String {
        let theme = if coloured { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        if self.file.text().is_empty() {
            // There is no line to show.
            let help = self.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
            return format!("[{}:1:1] {}{help}\n", self.file.name(), self.what);
        }
        let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(100);
        let mut text = String::new();
        match handler.render_report(&mut text, self) {
            Ok(()) => text,
            // The report cannot be drawn.
            Err(_) => format!("{}:{}: {}\n", self.file.name(), self.line(), self.what),
        }
    }
}

impl Diagnostic for Problem {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.file.0)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = SourceSpan::new(self.at.start.into(), self.at.len());
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }

    fn help(&self) -> Option<Box<dyn std::fmt::Display + '_>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_file_line_and_the_line_itself() {
        let source = Source::new("lessons/en/01.md", "one\ntwo wrong\nthree\n");
        let report = source.problem(8..13, "`wrong` is wrong").help("expected `right`").report(false);
        for part in ["`wrong` is wrong", "lessons/en/01.md:2:5", "two wrong", "expected `right`"] {
            assert!(report.contains(part), "{report}");
        }
        assert_eq!(source.problem(999..9999, "x").at, 20..20);
        assert!(!source.problem(20..20, "at the end").report(false).is_empty());
    }
}
