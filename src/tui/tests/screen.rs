//! The application on a terminal that is not there.

use super::recorded;
use crate::debugger::Event;
use crate::debugger::session::Mark;
use crate::debugger::session::Session;
use crate::debugger::view::Viewer;
use crate::lesson::{LessonProgress, Reading};
use crate::nn::Unwatched;
use crate::tui::app::{App, Effect, Input};
use crate::tui::pictures::{Graphics, Pictures};
use crate::tui::{text, view};
use crossterm::event::{KeyCode, KeyEvent, MouseEvent, MouseEventKind};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use ratatui::style::Color;
use std::time::Instant;

pub const NARROW: (u16, u16) = (80, 24);
pub const WIDE: (u16, u16) = (120, 40);

/// The application on a terminal that is not there, with a session that computes nothing.
pub struct Screen {
    pub app: App,
    pub session: Session,
    /// Its viewer, as the worker owns one.
    pub viewer: Viewer,
    pub terminal: Terminal<TestBackend>,
    /// What was to be done, and was not.
    pub effects: Vec<Effect>,
    /// How far the reader was in a lesson, from the beginning.
    pub kept: Vec<LessonProgress>,
    mark: Option<Mark>,
    pictures: Pictures,
}

impl Screen {
    /// While the models are loaded.
    pub fn new((width, height): (u16, u16)) -> Self {
        Self {
            app: App::new(Size { width, height }),
            session: recorded::session(0),
            viewer: Viewer::default(),
            pictures: Pictures::new(Graphics::HalfBlocks),
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
            effects: vec![],
            kept: vec![],
            mark: None,
        }
    }

    /// With a lesson on the recorded run, before its first stage.
    pub fn reading(size: (u16, u16), reading: Reading) -> Self {
        let mut screen = Self { session: recorded::session(recorded::STEPS + 3), ..Self::new(size) };
        screen.session.look(0);
        screen.app.open_lesson(reading);
        let ready = recorded::ready(&screen.session, &mut screen.viewer);
        screen.told(ready).served()
    }

    /// With the models loaded, after the first `done` stages of the recorded run.
    pub fn after(size: (u16, u16), done: usize) -> Self {
        Self::of(size, recorded::session(done))
    }

    /// With a session that is loaded.
    pub fn of(size: (u16, u16), session: Session) -> Self {
        let mut viewer = Viewer::default();
        let ready = recorded::ready(&session, &mut viewer);
        Self { session, viewer, ..Self::new(size) }.told(ready)
    }

    /// With nothing left to be done.
    pub fn settled(self) -> Self {
        Self { effects: vec![], ..self }
    }

    /// After `line` was typed and carried out; it must compute nothing.
    pub fn ran(mut self, line: &str) -> Self {
        let screen = self.typed(&format!(":{line}")).pressed(KeyCode::Enter);
        self = screen;
        let told = recorded::told(&mut self.session, &mut self.viewer, line);
        self.told(told)
    }

    /// After `line` was carried out; what it computes must not be on the screen, since its last digits depend on the
    /// machine.
    pub fn computed(mut self, line: &str) -> Self {
        let told = recorded::told(&mut self.session, &mut self.viewer, line);
        self.told(told)
    }

    pub fn told(mut self, event: Event) -> Self {
        self.effects = self.app.handle(Input::Worker(event));
        self
    }

    pub fn pressed(mut self, key: impl Into<KeyEvent>) -> Self {
        self.effects = self.app.handle(Input::Key(key.into()));
        self
    }

    pub fn typed(self, text: &str) -> Self {
        text.chars().fold(self, |screen, c| screen.pressed(KeyCode::Char(c)))
    }

    /// The mouse at a place of the screen as it is drawn now.
    pub fn mouse(mut self, kind: MouseEventKind, (column, row): (u16, u16)) -> Self {
        self.draw();
        let modifiers = crossterm::event::KeyModifiers::NONE;
        let event = MouseEvent { kind, column, row, modifiers };
        self.effects = self.app.handle(Input::Mouse(event, Instant::now()));
        self
    }

    /// Looks where the application asked to look, as the worker does.
    pub fn looked(mut self) -> Self {
        let looks = self.effects.iter().filter_map(|effect| match effect {
            Effect::Look(done) => Some(*done),
            _ => None,
        });
        for done in looks.collect::<Vec<_>>() {
            self.session.look(done);
            let view = recorded::view(&self.session, &mut self.viewer);
            self = self.told(Event::Looked(view));
        }
        self
    }

    /// Does what the application asks of the worker, until nothing is left to be done; it must compute nothing.
    pub fn served(mut self) -> Self {
        for effect in std::mem::take(&mut self.effects) {
            let event = match effect {
                Effect::Order(line) => Some(recorded::told(&mut self.session, &mut self.viewer, &line.text)),
                Effect::Evaluate(number, expressions) => {
                    let here = self.session.here();
                    let answers = expressions.iter().map(|e| e.evaluate(&here).map_err(|e| e.to_string()));
                    Some(Event::Evaluated(number, answers.collect()))
                }
                Effect::Mark => {
                    self.mark = Some(self.session.mark());
                    None
                }
                Effect::ComeBack => {
                    let outcome =
                        self.session.come_back(self.mark.as_ref().unwrap(), &mut Unwatched).unwrap();
                    Some(Event::Done(outcome.into(), recorded::view(&self.session, &mut self.viewer)))
                }
                Effect::Look(done) => {
                    self.session.look(done);
                    Some(Event::Looked(recorded::view(&self.session, &mut self.viewer)))
                }
                Effect::Keep(standing) => {
                    self.kept.push(standing);
                    None
                }
                _ => None,
            };
            if let Some(event) = event {
                self = self.told(event).served();
            }
        }
        self
    }

    pub fn draw(&mut self) {
        let Self { app, pictures, terminal, .. } = self;
        let mut hits = vec![];
        terminal.draw(|frame| hits = view::draw(app, pictures, frame)).unwrap();
        app.hits = hits;
    }

    /// What is on the screen; a picture is only where it is, since which block a cell gets is a matter of rounding.
    pub fn text(&mut self) -> String {
        // A terminal blanks the other half of a wide character that is overwritten; the one that is not there does not.
        self.terminal.clear().unwrap();
        self.draw();
        let buffer = self.terminal.backend().buffer();
        let mut text = String::new();
        for row in buffer.content().chunks(buffer.area.width.into()) {
            let mut line = String::new();
            let mut hidden = 0;
            for cell in row {
                match (hidden, cell.bg) {
                    (1.., _) => hidden -= 1,
                    (0, Color::Rgb(..)) if matches!(cell.symbol(), "▀" | "▄" | "█" | " ") => {
                        line.push('▒')
                    }
                    (0, _) => {
                        line.push_str(cell.symbol());
                        hidden = text::width(cell.symbol()).saturating_sub(1);
                    }
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The lines that the worker was to be given.
    pub fn orders(&self) -> Vec<&str> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Order(line) => Some(line.text.as_str()),
                _ => None,
            })
            .collect()
    }
}

/// Compares a screen with `snapshots/NAME-WIDTHxHEIGHT.snap`.
pub fn check(name: &str, mut screen: Screen) {
    let text = screen.text();
    let name = format!("{name}-{}x{}", screen.app.size.width, screen.app.size.height);
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}
