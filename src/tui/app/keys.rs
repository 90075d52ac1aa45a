//! Handling of keys.

use super::{App, Effect, Mode};
use crate::debugger::{Command, CommandLine};
use crate::lesson::reading::Act;
use crate::tui::completion::Completion;
use crate::tui::history;
use crate::tui::keymap::Action;
use crate::tui::line::{Line, Typed};
use crate::tui::list::Step;
use crate::tui::page::Turned;
use crate::tui::state::{Activity, Kind, Message};
use crate::tui::view::{self, Reply, View, ViewId};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use std::time::Duration;
use tr::tr;

/// From this much computing on, quitting asks.
const WORTH_ASKING: Duration = Duration::from_secs(10);

impl App {
    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let asked = std::mem::take(&mut self.leaving);
        self.asked_to_quit = std::mem::take(&mut self.quitting);
        self.is_repeat = key.kind == KeyEventKind::Repeat;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return self.stop(asked),
                KeyCode::Char('l') => return vec![Effect::Redraw],
                KeyCode::Char('z') if cfg!(unix) => return vec![Effect::Suspend],
                KeyCode::Char('z') => {
                    self.say(Kind::Info, "Ctrl-Z does nothing here: this system has no `fg`");
                    return vec![];
                }
                _ => {}
            }
        }
        if key.code == KeyCode::Esc && matches!(self.mode, Mode::Walk) && !self.state.waiting.is_empty() {
            let count = self.state.waiting.drain(..).count();
            self.say(
                Kind::Info,
                &tr!("{count} waiting commands dropped; Ctrl-C stops the running one", count),
            );
            return vec![];
        }
        // A message stays until the next key.
        if self.state.activity == Activity::Idle {
            self.state.messages.clear();
        }
        match &mut self.mode {
            Mode::Typing(line, completion) if matches!(key.code, KeyCode::Tab | KeyCode::BackTab) => {
                if completion.is_settled() {
                    line.insert(" ");
                    *completion = Completion::of(line, &self.state);
                } else {
                    completion.choose(line, if key.code == KeyCode::Tab { 1 } else { -1 });
                }
                vec![]
            }
            Mode::Typing(line, completion) => match line.key(key, &self.history) {
                Typed::On => {
                    *completion = Completion::of(line, &self.state);
                    vec![]
                }
                Typed::Left => {
                    self.mode = Mode::Walk;
                    vec![]
                }
                Typed::Entered(line) => self.enter(line),
            },
            Mode::Filtering(line) => {
                let typed = line.key(key, &[]);
                let text = match &typed {
                    Typed::On => line.text().to_string(),
                    Typed::Entered(text) => text.clone(),
                    Typed::Left => String::new(),
                };
                if typed != Typed::On {
                    self.mode = Mode::Walk;
                }
                self.views.of_mut(self.tab).filter(&text);
                vec![]
            }
            Mode::Showing(_) => {
                self.mode = Mode::Walk;
                match key.code {
                    KeyCode::Esc | KeyCode::Enter => vec![],
                    _ => self.walk(key),
                }
            }
            Mode::Reading(page) => match page.key(key.code, view::page_area(self.size)) {
                Turned::On => vec![],
                Turned::Closed => {
                    self.mode = Mode::Walk;
                    vec![]
                }
                // A key of the stage list closes the page and acts there.
                Turned::Unknown => self.keymap.action(key).map_or(vec![], |action| {
                    self.mode = Mode::Walk;
                    self.act(action)
                }),
            },
            Mode::Walk => self.walk(key),
        }
    }

    /// A key while no line is being typed and no page is open: the focused pane gets it first.
    fn walk(&mut self, key: KeyEvent) -> Vec<Effect> {
        let pane = self.focused();
        let room = self.room(pane);
        let (view, state) = self.of_pane_mut(pane);
        let mut reply = Step::of(key.code).map_or(Reply::Unknown, |step| view.step(pane, step, room, state));
        let declared =
            key.code == KeyCode::Esc || view.bindings().iter().any(|keys| keys.take(pane, key.code));
        if reply == Reply::Unknown && declared {
            reply = view.key(pane, key, room, state);
        }
        match reply {
            Reply::Unknown if key.code == KeyCode::Esc => {
                self.zoomed = false;
                vec![]
            }
            Reply::Unknown => self.keymap.action(key).map_or(vec![], |action| self.act(action)),
            reply => self.reply(reply),
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        let place = self.state.place();
        match action {
            Action::Run(line) => return self.give(line.into()),
            Action::Type(beginning) => {
                let line = Line::new(beginning);
                let completion = Completion::of(&line, &self.state);
                self.mode = Mode::Typing(line, completion);
            }
            Action::Show(tab) => self.turn_to(tab),
            Action::FocusNext => self.move_focus(1),
            Action::FocusPrevious => self.move_focus(-1),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::LookBack => return self.look(place.saturating_sub(1)),
            Action::LookOn => return self.look(place + 1),
            Action::LookFirst => return self.look(0),
            Action::LookLast => return self.look(usize::MAX),
            Action::Play => return self.play(),
            Action::Lesson => self.toggle_lesson(),
            Action::ComeBack => return self.act_in_lesson(Act::ComeBack),
            Action::Filter if self.views.of_mut(self.tab).filter("") => {
                self.mode = Mode::Filtering(Line::new(""));
            }
            Action::Filter => self.say(Kind::Info, "nothing to filter here; 2 shows the tensors"),
            Action::CopySelected => {
                let selected = self.of_pane(self.focused()).selected(self.focused(), &self.state);
                let Some(selected) = selected else {
                    self.say(Kind::Info, "nothing is selected here");
                    return vec![];
                };
                let characters = selected.chars().count();
                self.say(
                    Kind::Info,
                    &tr!("{characters} characters copied, if the terminal allows it", characters),
                );
                return vec![Effect::Copy(selected)];
            }
            Action::Mouse => {
                self.mouse = !self.mouse;
                self.say(
                    Kind::Info,
                    if self.mouse {
                        "diffuscope has captured the mouse"
                    } else {
                        "the terminal has the mouse; m captures it again"
                    },
                );
                return vec![Effect::Mouse(self.mouse)];
            }
            Action::LastOutput if self.output.is_some() => self.show_output(),
            Action::LastOutput => self.say(Kind::Info, "no output yet; `:info request` has some"),
            Action::Help => {
                self.mode = Mode::Reading(view::help_page(self, self.size.width));
            }
            Action::Quit => return self.quit(),
            Action::Nothing => {}
        }
        vec![]
    }

    pub(super) fn show(&mut self, tab: ViewId) {
        self.tab = tab;
        self.zoomed = false;
    }

    /// Shows a view. A lesson that covers it is moved aside.
    pub(super) fn turn_to(&mut self, tab: ViewId) {
        self.on_lesson &= !self.lesson_covers();
        self.show(tab);
    }

    fn move_focus(&mut self, by: isize) {
        let mut panes = self.views.of(self.tab).panes(&self.state, Rect::from(self.size));
        if self.state.lesson.is_some() {
            panes.extend(self.views.lesson.panes(&self.state, Rect::from(self.size)));
        }
        let focused = self.focused();
        let at = panes.iter().position(|pane| pane.name == focused).unwrap_or(0);
        let next = (at + panes.len()).saturating_add_signed(by) % panes.len().max(1);
        self.focus_on(panes.get(next).map_or("", |pane| pane.name));
    }

    /// A line was entered.
    fn enter(&mut self, line: String) -> Vec<Effect> {
        self.mode = Mode::Walk;
        let line = line.trim().trim_start_matches(':').trim_start().to_string();
        if line.is_empty() {
            return vec![];
        }
        if self.obeys_panics && line == "panic worker" {
            return vec![Effect::Panic];
        }
        if self.obeys_panics && line == "panic drawing" {
            self.draw_panics = true;
            return vec![];
        }
        let parsed = CommandLine::parse(&line);
        // A line with an error stays in the history as typed, so that it can be corrected.
        let mut effects = self.remember(match &parsed {
            Ok(Some(known)) => known.command.to_string(),
            _ => line.clone(),
        });
        match parsed {
            Ok(Some(CommandLine { command: Command::Quit(_), .. })) => return vec![Effect::End(Ok(()))],
            Ok(Some(line)) => effects.extend(self.give_command(line)),
            Ok(None) => {}
            Err(e) => self.state.refuse(&line, &e.to_string()),
        }
        effects
    }

    /// Quits; when much was computed, only if it is asked for twice: `undo` cannot bring that back.
    fn quit(&mut self) -> Vec<Effect> {
        let is_recorded = self.state.model.as_ref().is_some_and(|model| model.is_recorded);
        let stages = self.state.view.iter().flat_map(|view| &view.stages);
        let lost: Duration = stages.filter_map(|line| line.took).sum();
        if lost < WORTH_ASKING || is_recorded || self.asked_to_quit {
            return vec![Effect::End(Ok(()))];
        }
        self.quitting = true;
        let text = tr!(
            "q again quits: {} s of computing are dropped; `:save timeline FILE` keeps the commands",
            lost.as_secs()
        );
        self.say(Kind::Warning, &text);
        vec![]
    }

    /// Text was pasted. In the console its lines are entered, up to the first that fails; as keys it would run commands.
    pub(super) fn paste(&mut self, pasted: &str) -> Vec<Effect> {
        let pasted = pasted.replace("\r\n", "\n").replace('\r', "\n");
        if !matches!(self.mode, Mode::Typing(..)) {
            self.say(Kind::Info, "pasted text is for the console: `:` opens it");
            return vec![];
        }
        let mut effects = vec![];
        let mut lines = pasted.split('\n').peekable();
        while let Some(part) = lines.next() {
            let Mode::Typing(line, completion) = &mut self.mode else { break };
            line.insert(part);
            *completion = Completion::of(line, &self.state);
            if lines.peek().is_none() {
                break;
            }
            let entered = line.text().to_string();
            effects.extend(self.enter(entered));
            let is_wrong = self.state.messages.iter().any(|message| message.kind == Kind::Error);
            let rest = lines.clone().filter(|line| !line.trim().is_empty()).count();
            if is_wrong && rest > 0 {
                let text = tr!("{rest} pasted lines after this one were not run", rest);
                self.state.messages.push(Message::new(Kind::Warning, &text));
            }
            if is_wrong || rest == 0 {
                break;
            }
            self.mode = Mode::Typing(Line::new(""), Completion::default());
        }
        effects
    }

    /// Adds a line to the history, unless it is the last one there.
    fn remember(&mut self, line: String) -> Vec<Effect> {
        if self.history.last() == Some(&line) {
            return vec![];
        }
        self.history.push(line.clone());
        let old = self.history.len().saturating_sub(history::MOST);
        self.history.drain(..old);
        vec![Effect::Remember(line)]
    }

    /// Ctrl-C: stops what runs, else closes what is open, else quits when pressed twice.
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
                self.say(Kind::Info, "press Ctrl-C again to quit, or q");
                vec![]
            }
        }
    }
}
