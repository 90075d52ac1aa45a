//! The application: inputs → new state and effects.
//!
//! - `keys` and `mouse`: handle keys and the mouse.
//! - `lesson`: the open lesson.
//! - `look`: moves through recorded stages and plays them.

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
use tr::tr;

/// The application.
#[derive(Debug)]
pub struct App {
    /// The session's state.
    pub state: State,
    /// What receives keys.
    pub mode: Mode,
    /// The size of the terminal.
    pub size: Size,
    /// Every style.
    pub theme: Theme,
    /// How many colours the terminal has.
    pub depth: Depth,
    /// Keys and their actions.
    pub keymap: Keymap,
    /// The view that is shown.
    pub tab: ViewId,
    /// Each view's own state.
    pub views: Views,
    /// The focused pane of each view; empty for the first.
    focus: [&'static str; VIEWS.len()],
    /// Whether the lesson has the focus.
    on_lesson: bool,
    /// Whether the focused pane is shown alone.
    pub zoomed: bool,
    /// How pictures are drawn, for the help page.
    pub graphics: &'static str,
    /// Areas of the last frame that the mouse can press.
    pub hits: Vec<Hit>,
    /// Whether the program has captured the mouse.
    pub mouse: bool,
    /// Whether recorded stages are being played.
    pub playing: bool,
    /// Whether the lines `panic worker` and `panic drawing` are obeyed, for tests.
    pub obeys_panics: bool,
    /// Whether the next frame panics.
    pub draw_panics: bool,
    /// The last output of more than a line: its title and its lines.
    output: Option<Output>,
    /// The console's history, the newest last.
    pub history: Vec<String>,
    /// Whether the last key asked whether to quit, and whether the one before did.
    quitting: bool,
    asked_to_quit: bool,
    /// Whether the key being handled is held down, and was pressed before.
    is_repeat: bool,
    /// Whether the last key was a Ctrl-C that asked whether to quit.
    leaving: bool,
    /// The last request to the VAE.
    asked: Vec<Preview>,
    /// The last request for inspections.
    examining: Vec<Examination>,
    /// Place and time of the last mouse press.
    pressed: Option<(&'static str, Instant)>,
}

/// What receives keys.
#[derive(Debug)]
pub enum Mode {
    /// The stages and views.
    Walk,
    /// The console and its completions.
    Typing(Line, Completion),
    /// An enlarged picture.
    Showing(NamedPicture),
    /// The filter of a pane.
    Filtering(Line),
    /// A page of text.
    Reading(Page),
}

/// Time between two frames while playing.
const FRAME: Duration = Duration::from_millis(125);
/// Time between two ticks while something runs.
const PULSE: Duration = Duration::from_millis(100);

impl App {
    /// The application while the model loads.
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
            quitting: false,
            asked_to_quit: false,
            is_repeat: false,
            leaving: false,
            asked: vec![],
            examining: vec![],
            pressed: None,
        }
    }

    /// Handles one input. It changes nothing outside: that is what the effects are for.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = match input {
            Input::Key(key) if key.kind == KeyEventKind::Release => vec![],
            Input::Key(key) => self.key(key),
            Input::Mouse(event, when) => self.mouse(event, when),
            Input::Paste(pasted) => self.paste(&pasted),
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

    /// Time until a [`Tick`](Input::Tick) is due; `None`: no tick is needed.
    pub fn patience(&self) -> Option<Duration> {
        match self.state.activity {
            _ if self.playing => Some(FRAME),
            Activity::Idle => None,
            Activity::Loading | Activity::Running { .. } => Some(PULSE),
        }
    }

    /// Whether the model is still loading.
    pub fn is_loading(&self) -> bool {
        self.state.activity == Activity::Loading
    }

    /// The panes shown in `body`: those of the view, or the zoomed one; and the lesson.
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

    /// The part that draws a pane.
    pub fn of_pane(&self, pane: &str) -> &dyn View {
        if pane == LESSON { &self.views.lesson } else { self.views.of(self.tab) }
    }

    /// The part that receives a pane's keys.
    fn of_pane_mut(&mut self, pane: &str) -> (&mut dyn View, &State) {
        let views = &mut self.views;
        (if pane == LESSON { &mut views.lesson } else { views.of_mut(self.tab) }, &self.state)
    }

    /// The focused pane.
    pub fn focused(&self) -> &'static str {
        if self.on_lesson {
            return LESSON;
        }
        self.focused_of(&self.views.of(self.tab).panes(&self.state, Rect::from(self.size)))
    }

    /// Focuses a pane.
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

    /// The size of the pane's inside in the last frame.
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

    /// Shows a warning.
    pub fn warn(&mut self, text: &str) {
        self.state.messages.push(Message::new(Kind::Warning, text));
    }

    /// Parses and runs a line of a key or a view; reports an error in it.
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

    /// Runs a command, after those before it.
    fn give_command(&mut self, line: CommandLine) -> Vec<Effect> {
        if self.state.activity == Activity::Idle {
            return self.order(line);
        }
        match self.state.waiting.len() {
            // The first press of a key that is held down counts.
            _ if self.is_repeat => {}
            MOST_WAITING.. => {
                let text =
                    tr!("{MOST_WAITING} commands wait already: `{}` is dropped", line.text, MOST_WAITING);
                self.say(Kind::Warning, &text);
            }
            _ => self.state.waiting.push_back(line),
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

    /// The worker is about to run a command.
    fn begin(&mut self, command: &str) {
        if self.state.is_inside() {
            // It continues where the stage is paused, wherever the user looked.
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

/// The limit of waiting commands.
const MOST_WAITING: usize = 64;
