//! Every colour of the interface: a [`Theme`] names what each is for, and nothing else makes a [`Style`].

use ratatui::style::{Color, Modifier, Style};

/// The styles of the interface, by what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme {
    /// What is told.
    pub plain: Style,
    /// The program's name, headings, the names of keys.
    pub strong: Style,
    /// What explains, and what has not happened yet.
    pub faint: Style,
    /// Rules between panes.
    pub rule: Style,
    /// The title of the pane that keys go to.
    pub focus: Style,
    /// The row that is selected.
    pub selected: Style,
    /// The title of a page, across it.
    pub page_title: Style,
    /// Where the run stands; what is running.
    pub here: Style,
    /// What is done.
    pub done: Style,
    /// A breakpoint.
    pub breakpoint: Style,
    /// The name of a tensor.
    pub tensor: Style,
    /// What a reader should know.
    pub warning: Style,
    /// What went wrong.
    pub error: Style,
    /// What must not be there: NaN and infinity.
    pub alarm: Style,
    /// The key of a hint.
    pub key: Style,
    /// The lines of a chart, in turn; each has a mark of its own too.
    pub series: [Style; 4],
    /// Source code.
    pub code: Code,
}

/// The styles of source code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Words of the language.
    pub keyword: Style,
    /// Texts and numbers.
    pub literal: Style,
    /// Comments.
    pub comment: Style,
    /// Names of types.
    pub kind: Style,
    /// Names of functions.
    pub function: Style,
}

impl Default for Theme {
    /// The terminal's own sixteen colours, which suit a light terminal as well as a dark one.
    fn default() -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Self {
            plain,
            strong: bold,
            faint: plain.fg(Color::DarkGray),
            rule: plain.fg(Color::DarkGray),
            focus: bold.fg(Color::Cyan),
            selected: plain.add_modifier(Modifier::REVERSED),
            page_title: plain.add_modifier(Modifier::REVERSED),
            here: bold.fg(Color::Cyan),
            done: plain.fg(Color::Green),
            breakpoint: plain.fg(Color::Red),
            tensor: plain.fg(Color::Cyan),
            warning: plain.fg(Color::Yellow),
            error: plain.fg(Color::LightRed),
            alarm: bold.fg(Color::White).bg(Color::Red),
            key: plain.fg(Color::Cyan),
            series: [Color::Cyan, Color::Yellow, Color::Magenta, Color::Green].map(|c| plain.fg(c)),
            code: Code {
                keyword: plain.fg(Color::Magenta),
                literal: plain.fg(Color::Green),
                comment: plain.fg(Color::DarkGray),
                kind: plain.fg(Color::Yellow),
                function: plain.fg(Color::Blue),
            },
        }
    }
}
