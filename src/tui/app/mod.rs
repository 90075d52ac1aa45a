//! The application: what was put in → what is known and shown, and what is to be done about it.
//!
//! - `keys`: what becomes of a key; `mouse`: of the mouse.
//! - `lesson`: the lesson that is read.
//! - `look`: looking at what is recorded, and playing it.

mod keys;
mod learn;
mod lesson;
mod look;
mod messages;
mod mouse;

pub use messages::{Effect, Input};

use super::canvas::Hit;
use super::completion::Completion;
use super::depth::Depth;
use super::keymap::Keymap;
use super::line::Line;
use super::page::Page;
use super::state::{Activity, Kind, Message, Output, State};
use super::theme::Theme;
use super::view::{LESSON, Pane, VIEWS, View, ViewId, Views};
use super::{Error, text};
use crate::debugger::record::NamedPicture;
use crate::debugger::{CommandLine, Examination, Preview};
use crossterm::event::KeyEventKind;
use ratatui::layout::{Rect, Size};
use std::time::{Duration, Instant};

/// The application.
#[derive(Debug)]
pub struct App {
    /// What is known.
    pub state: State,
    /// What keys go to.
    pub mode: Mode,
    /// The size of the terminal.
    pub size: Size,
    /// Every style.
    pub theme: Theme,
    /// How many colours the terminal has.
    pub depth: Depth,
    /// What keys do.
    pub keymap: Keymap,
    /// The view that is shown.
    pub tab: ViewId,
    /// What each view remembers.
    pub views: Views,
    /// The pane that keys go to in each view; empty for the first.
    focus: [&'static str; VIEWS.len()],
    /// Whether keys go to the lesson.
    on_lesson: bool,
    /// Whether the pane that keys go to is shown alone.
    pub zoomed: bool,
    /// How pictures are drawn, for the help.
    pub graphics: &'static str,
    /// What is where on the screen, as it was drawn last.
    pub hits: Vec<Hit>,
    /// Whether the mouse is ours.
    pub mouse: bool,
    /// Whether what is recorded is being played.
    pub playing: bool,
    /// Whether the lines `panic worker` and `panic drawing` are obeyed, for tests.
    pub obeys_panics: bool,
    /// Whether the next frame shall panic.
    pub draw_panics: bool,
    /// The last output of more than a line: its title and its lines.
    output: Option<Output>,
    /// Lines that were typed, the newest last.
    pub history: Vec<String>,
    /// The last key was a Ctrl-C that asked whether to leave.
    leaving: bool,
    /// What the VAE was asked for last.
    asked: Vec<Preview>,
    /// What was asked last of the inside of stages.
    examining: Vec<Examination>,
    /// Where the mouse was pressed last, and when.
    pressed: Option<(&'static str, Instant)>,
}

/// What keys go to.
#[derive(Debug)]
pub enum Mode {
    /// The walk through the stages.
    Walk,
    /// The console, and what its line can go on with.
    Typing(Line, Completion),
    /// A picture as large as there is room.
    Showing(NamedPicture),
    /// What a pane is filtered by.
    Filtering(Line),
    /// A page of text.
    Reading(Page),
}

/// Time between two frames of what is played.
const FRAME: Duration = Duration::from_millis(125);
/// Time between two looks at the clock while something runs.
const PULSE: Duration = Duration::from_millis(100);

impl App {
    /// The application while the models are loaded.
    pub fn new(size: Size) -> Self {
        Self {
            state: State::default(),
            mode: Mode::Walk,
            size,
            theme: Theme::default(),
            depth: Depth::default(),
            keymap: Keymap::default(),
            tab: ViewId::default(),
            views: Views::default(),
            focus: [""; VIEWS.len()],
            on_lesson: false,
            zoomed: false,
            graphics: "half blocks",
            hits: vec![],
            mouse: true,
            playing: false,
            obeys_panics: false,
            draw_panics: false,
            output: None,
            history: vec![],
            leaving: false,
            asked: vec![],
            examining: vec![],
            pressed: None,
        }
    }

    /// Takes in one thing that happened. Changes nothing outside: that is what the effects are for.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = match input {
            Input::Key(key) if key.kind == KeyEventKind::Release => vec![],
            Input::Key(key) => self.key(key),
            Input::Mouse(event, when) => self.mouse(event, when),
            Input::Paste(pasted) => {
                // Pasted text is no sequence of keys: elsewhere it would move the run about.
                if let Mode::Typing(line, completion) = &mut self.mode {
                    line.insert(&pasted);
                    *completion = Completion::of(line, &self.state);
                }
                vec![]
            }
            Input::Resize(size) => {
                self.size = size;
                vec![Effect::Redraw]
            }
            Input::Tick(now) => {
                self.state.tick(now);
                self.play_on()
            }
            Input::Worker(event) => self.learn(event),
            Input::WorkerGone => vec![Effect::End(Err(Error::Worker))],
            Input::Closed(why) => vec![Effect::End(Err(Error::Input(why)))],
            Input::Signal(signal) => vec![Effect::End(Err(Error::Signal(signal)))],
            Input::Suspend => vec![Effect::Suspend],
            Input::Continued => vec![Effect::Retake],
            Input::Drawn => vec![],
        };
        effects.extend(self.ask_for_previews());
        effects.extend(self.examine());
        effects
    }

    /// How long to wait for something to happen before a [`Tick`](Input::Tick) is due; `None` is for ever.
    pub fn patience(&self) -> Option<Duration> {
        match self.state.activity {
            _ if self.playing => Some(FRAME),
            Activity::Idle => None,
            Activity::Loading | Activity::Running { .. } => Some(PULSE),
        }
    }

    /// Whether the models are still being loaded.
    pub fn is_loading(&self) -> bool {
        self.state.activity == Activity::Loading
    }

    /// The panes that are shown in `body`: those of the view, or the one that is zoomed; and the lesson.
    pub fn panes(&self, body: Rect) -> Vec<Pane> {
        let (view, lesson) = self.split(body);
        let mut panes = view.map_or(vec![], |area| self.views.of(self.tab).panes(&self.state, area));
        if self.zoomed && !self.on_lesson {
            let focused = self.focused_of(&panes);
            panes.retain(|pane| pane.name == focused);
            panes.iter_mut().for_each(|pane| pane.area = body);
        }
        panes.extend(lesson.into_iter().flat_map(|area| self.views.lesson.panes(&self.state, area)));
        panes
    }

    /// What draws a pane.
    pub fn of_pane(&self, pane: &str) -> &dyn View {
        if pane == LESSON { &self.views.lesson } else { self.views.of(self.tab) }
    }

    /// What a pane's keys go to.
    fn of_pane_mut(&mut self, pane: &str) -> (&mut dyn View, &State) {
        let views = &mut self.views;
        (if pane == LESSON { &mut views.lesson } else { views.of_mut(self.tab) }, &self.state)
    }

    /// The pane that keys go to.
    pub fn focused(&self) -> &'static str {
        if self.on_lesson {
            return LESSON;
        }
        self.focused_of(&self.views.of(self.tab).panes(&self.state, Rect::from(self.size)))
    }

    /// Gives keys to a pane.
    fn focus_on(&mut self, pane: &'static str) {
        self.on_lesson = pane == LESSON;
        if !self.on_lesson {
            self.focus[self.tab.index()] = pane;
        }
    }

    fn focused_of(&self, panes: &[Pane]) -> &'static str {
        let wanted = self.focus[self.tab.index()];
        let known = panes.iter().find(|pane| pane.name == wanted).or(panes.first());
        known.map_or("", |pane| pane.name)
    }

    /// How large the inside of the pane was when it was drawn last.
    fn room(&self, pane: &str) -> Size {
        use super::canvas::Target::Pane;
        let hit = self.hits.iter().find(|hit| matches!(hit.target, Pane(name) if name == pane));
        hit.map_or(Size::default(), |hit| hit.area.as_size())
    }

    fn show_output(&mut self) {
        if let Some(Output { title, lines, prose, picture }) = &self.output {
            let mut page = Page::of_text(title, lines, *prose);
            page.picture.clone_from(picture);
            self.mode = Mode::Reading(page);
        }
    }

    fn say(&mut self, kind: Kind, text: &str) {
        self.state.messages = vec![Message::new(kind, text)];
    }

    /// Tells what a reader should know.
    pub fn warn(&mut self, text: &str) {
        self.state.messages.push(Message::new(Kind::Warning, text));
    }

    /// A line of a key or a view, parsed and given on; a wrong one is reported.
    fn give(&mut self, line: String) -> Vec<Effect> {
        match CommandLine::parse(&line) {
            Ok(Some(line)) => self.give_command(line),
            Ok(None) => vec![],
            Err(e) => {
                self.state.refuse(&line, &e.to_string());
                vec![]
            }
        }
    }

    /// A command, to be carried out when those before it are.
    fn give_command(&mut self, line: CommandLine) -> Vec<Effect> {
        if self.state.activity == Activity::Idle {
            return self.order(line);
        }
        if self.state.waiting.len() < MOST_WAITING {
            self.state.waiting.push_back(line);
        }
        vec![]
    }

    fn order(&mut self, line: CommandLine) -> Vec<Effect> {
        if let Some(lesson) = &mut self.state.lesson {
            lesson.given(&line.command);
        }
        self.begin(&line.text);
        vec![Effect::Order(line)]
    }

    /// The worker is about to carry something out.
    fn begin(&mut self, command: &str) {
        if self.state.is_inside() {
            // It goes on where the stage waits, wherever the reader looked.
            self.state.look = None;
        }
        self.state.messages.clear();
        self.state.clock = None;
        self.state.activity = Activity::Running { command: text::clean(command), line: None };
    }

    fn interrupt(&mut self) -> Vec<Effect> {
        self.state.waiting.clear();
        if let Some(lesson) = &mut self.state.lesson {
            lesson.interrupt();
        }
        vec![Effect::Interrupt]
    }
}

/// Commands that may wait for the one that runs: a key that is held down shall not fill an hour.
const MOST_WAITING: usize = 8;
