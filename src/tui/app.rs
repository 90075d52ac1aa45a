//! The application: what was put in → what is known and shown, and what is to be done about it.

use super::keymap::{self, Action};
use super::line::{Line, Typed};
use super::page::{Page, Turned};
use super::state::{Activity, Kind, Message, State};
use super::{Error, text, view};
use crate::debugger::{Command, Event};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Size;

/// What comes in, from the terminal and from the worker.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// Text that was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize(Size),
    /// What the worker tells.
    Worker(Event),
    /// The worker has ended.
    WorkerGone,
    /// The terminal gives no more input, and why.
    Closed(String),
    /// The system asks the program to end, by this signal.
    Signal(i32),
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// The worker is given a line of the command language.
    Order(String),
    /// The worker's command is interrupted.
    Interrupt,
    /// The screen is drawn anew from nothing.
    Redraw,
    /// The program ends: as the reader wished, or because of an error.
    End(Result<(), Error>),
}

/// The application.
#[derive(Debug)]
pub struct App {
    /// What is known.
    pub state: State,
    /// What keys go to.
    pub mode: Mode,
    /// The size of the terminal.
    pub size: Size,
    /// Which picture is shown alone, of those that there are.
    pub enlarged: Option<usize>,
    /// How pictures are drawn, for the help.
    pub graphics: &'static str,
    /// The last output of more than a line: its title and its lines.
    output: Option<(String, Vec<String>)>,
    /// Lines that were typed, the newest last.
    history: Vec<String>,
    /// The last key was a Ctrl-C that asked whether to leave.
    leaving: bool,
}

/// What keys go to.
#[derive(Debug)]
pub enum Mode {
    /// The walk through the stages.
    Walk,
    /// The command line.
    Typing(Line),
    /// A page of text.
    Reading(Page),
}

/// Commands that may wait for the one that runs: a key that is held down shall not fill an hour.
const MOST_WAITING: usize = 8;
/// Lines of the history.
const MOST_HISTORY: usize = 200;

impl App {
    /// The application while the models are loaded.
    pub fn new(size: Size) -> Self {
        Self {
            state: State::default(),
            mode: Mode::Walk,
            size,
            enlarged: None,
            graphics: "half blocks",
            output: None,
            history: vec![],
            leaving: false,
        }
    }

    /// Takes in one thing that happened. Changes nothing outside: that is what the effects are for.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Key(key) if key.kind == KeyEventKind::Release => vec![],
            Input::Key(key) => self.key(key),
            Input::Paste(pasted) => {
                // Pasted text is no sequence of keys: elsewhere it would move the run about.
                if let Mode::Typing(line) = &mut self.mode {
                    line.insert(&pasted);
                }
                vec![]
            }
            Input::Resize(size) => {
                self.size = size;
                vec![]
            }
            Input::Worker(event) => self.learn(event),
            Input::WorkerGone => vec![Effect::End(Err(Error::Worker))],
            Input::Closed(why) => vec![Effect::End(Err(Error::Input(why)))],
            Input::Signal(signal) => vec![Effect::End(Err(Error::Signal(signal)))],
        }
    }

    /// Whether the models are still being loaded.
    pub fn is_loading(&self) -> bool {
        self.state.activity == Activity::Loading
    }

    fn learn(&mut self, event: Event) -> Vec<Effect> {
        let news = self.state.learn(event);
        if let Some(error) = news.load_failed {
            return vec![Effect::End(Err(Error::Load(error)))];
        }
        if news.quit {
            return vec![Effect::End(Ok(()))];
        }
        if let Some(output) = news.output {
            self.output = Some(output);
            // A line that is being typed is not taken away.
            if !matches!(self.mode, Mode::Typing(_)) {
                self.show_output();
            }
        }
        match self.state.waiting.pop_front() {
            Some(line) if news.idle => self.order(line),
            Some(line) => {
                self.state.waiting.push_front(line);
                vec![]
            }
            None => vec![],
        }
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let asked = std::mem::take(&mut self.leaving);
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return self.stop(asked),
                KeyCode::Char('l') => return vec![Effect::Redraw],
                _ => {}
            }
        }
        match &mut self.mode {
            Mode::Typing(line) => match line.key(key, &self.history) {
                Typed::On => vec![],
                Typed::Left => {
                    self.mode = Mode::Walk;
                    vec![]
                }
                Typed::Entered(line) => self.enter(line),
            },
            Mode::Reading(page) => match page.key(key.code, view::page_area(self.size)) {
                Turned::On => vec![],
                Turned::Closed => {
                    self.mode = Mode::Walk;
                    vec![]
                }
                // A key of the walk closes the page and does what it does there.
                Turned::Unknown => keymap::action(key).map_or(vec![], |action| {
                    self.mode = Mode::Walk;
                    self.act(action)
                }),
            },
            Mode::Walk if key.code == KeyCode::Esc => match self.state.activity {
                Activity::Idle => vec![],
                _ => self.interrupt(),
            },
            Mode::Walk => keymap::action(key).map_or(vec![], |action| self.act(action)),
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Run(line) => return self.give(line.into()),
            Action::Type(beginning) => self.mode = Mode::Typing(Line::new(beginning)),
            Action::Enlarge => {
                let count = self.state.record().map_or(0, |record| record.pictures.len());
                self.enlarged = match self.enlarged {
                    None => Some(0),
                    Some(shown) => Some(shown + 1),
                };
                // One alone is as large as it can be already.
                self.enlarged = self.enlarged.filter(|shown| count > 1 && *shown < count);
            }
            Action::LastOutput if self.output.is_some() => self.show_output(),
            Action::LastOutput => self.say(Kind::Said, "no output yet; `i` lists the tensors"),
            Action::Help => self.mode = Mode::Reading(view::help_page(self.graphics, self.size.width)),
            Action::Quit => return vec![Effect::End(Ok(()))],
        }
        vec![]
    }

    /// A line was typed.
    fn enter(&mut self, line: String) -> Vec<Effect> {
        self.mode = Mode::Walk;
        let line = line.trim().to_string();
        if line.is_empty() {
            return vec![];
        }
        if self.history.last() != Some(&line) {
            self.history.push(line.clone());
            let old = self.history.len().saturating_sub(MOST_HISTORY);
            self.history.drain(..old);
        }
        if matches!(Command::parse(&line), Ok(Some(Command::Quit))) {
            return vec![Effect::End(Ok(()))];
        }
        self.give(line)
    }

    /// A command, to be carried out when those before it are.
    fn give(&mut self, line: String) -> Vec<Effect> {
        if self.state.activity == Activity::Idle {
            return self.order(line);
        }
        if self.state.waiting.len() < MOST_WAITING {
            self.state.waiting.push_back(line);
        }
        vec![]
    }

    fn order(&mut self, line: String) -> Vec<Effect> {
        self.state.messages.clear();
        self.state.activity = Activity::Running { command: text::clean(&line), line: None };
        vec![Effect::Order(line)]
    }

    /// Ctrl-C: stops what runs; else closes what is open; else the second in a row leaves.
    fn stop(&mut self, asked: bool) -> Vec<Effect> {
        match self.state.activity {
            _ if asked => vec![Effect::End(Ok(()))],
            Activity::Running { .. } => self.interrupt(),
            _ if !matches!(self.mode, Mode::Walk) => {
                self.mode = Mode::Walk;
                vec![]
            }
            Activity::Loading | Activity::Idle => {
                self.leaving = true;
                self.say(Kind::Said, "Ctrl-C once more leaves; so does q");
                vec![]
            }
        }
    }

    fn interrupt(&mut self) -> Vec<Effect> {
        self.state.waiting.clear();
        vec![Effect::Interrupt]
    }

    fn show_output(&mut self) {
        if let Some((title, lines)) = &self.output {
            self.mode = Mode::Reading(Page::of_text(title, lines));
        }
    }

    fn say(&mut self, kind: Kind, text: &str) {
        self.state.messages = vec![Message::new(kind, text)];
    }
}
