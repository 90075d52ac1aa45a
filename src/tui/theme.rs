//! Every colour of the interface. They are the terminal's own sixteen, so that they suit a light terminal as well as
//! a dark one.

use ratatui::style::{Color, Modifier, Style};

/// The program's name, headings, the names of keys.
pub const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
/// The title of a page, across it.
pub const PAGE_TITLE: Style = Style::new().add_modifier(Modifier::REVERSED);
/// What explains, and what has not happened yet.
pub const FAINT: Style = Style::new().fg(Color::DarkGray);
/// What is told.
pub const PLAIN: Style = Style::new();
/// Where the run stands; what is running.
pub const HERE: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
/// What is done.
pub const DONE: Style = Style::new().fg(Color::Green);
/// A breakpoint.
pub const BREAKPOINT: Style = Style::new().fg(Color::Red);
/// The name of a tensor.
pub const TENSOR: Style = Style::new().fg(Color::Cyan);
/// What a reader should know.
pub const WARNING: Style = Style::new().fg(Color::Yellow);
/// What went wrong.
pub const ERROR: Style = Style::new().fg(Color::LightRed);
/// What must not be there: NaN and infinity.
pub const ALARM: Style = Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD);
/// The key of a hint.
pub const KEY: Style = Style::new().fg(Color::Cyan);
