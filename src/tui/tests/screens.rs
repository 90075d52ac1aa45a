//! The screens as text, in `snapshots/`: what a reader sees after what came in.

use super::fake;
use crate::debugger::view::ModelLine;
use crate::debugger::{Event, View};
use crate::pipeline::Stage;
use crate::tui::app::{App, Effect, Input};
use crate::tui::pictures::{Graphics, Pictures};
use crate::tui::{Error, text, theme, view};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use ratatui::style::Color;

/// The application on a terminal that is not there.
struct Screen {
    app: App,
    pictures: Pictures,
    terminal: Terminal<TestBackend>,
    /// What was to be done, and was not.
    effects: Vec<Effect>,
}

const NARROW: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (120, 40);

impl Screen {
    fn new((width, height): (u16, u16)) -> Self {
        Self {
            app: App::new(Size { width, height }),
            pictures: Pictures::new(Graphics::HalfBlocks),
            terminal: Terminal::new(TestBackend::new(width, height)).unwrap(),
            effects: vec![],
        }
    }

    /// With the models loaded, at the start.
    fn ready(size: (u16, u16)) -> Self {
        Self::new(size).told(fake::ready(fake::view(0, 0)))
    }

    /// After a command that ended at `view`.
    fn at(size: (u16, u16), view: View, message: &str) -> Self {
        Self::ready(size).told(fake::moved("next", view, message))
    }

    fn told(mut self, event: Event) -> Self {
        self.effects = self.app.handle(Input::Worker(event));
        self
    }

    fn pressed(mut self, key: impl Into<KeyEvent>) -> Self {
        self.effects = self.app.handle(Input::Key(key.into()));
        self
    }

    fn typed(self, text: &str) -> Self {
        text.chars().fold(self, |screen, c| screen.pressed(KeyCode::Char(c)))
    }

    fn draw(&mut self) {
        let Self { app, pictures, terminal, .. } = self;
        terminal.draw(|frame| view::draw(app, pictures, frame)).unwrap();
    }

    /// What is on the screen; a picture is only where it is, since which block a cell gets is a matter of rounding.
    fn text(&mut self) -> String {
        self.draw();
        let buffer = self.terminal.backend().buffer();
        let mut text = String::new();
        for row in buffer.content().chunks(buffer.area.width.into()) {
            let mut line = String::new();
            let mut hidden = 0;
            for cell in row {
                match (hidden, cell.bg) {
                    (1.., _) => hidden -= 1,
                    (0, Color::Rgb(..)) => line.push('▒'),
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

    fn orders(&self) -> Vec<&str> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Order(line) => Some(line.as_str()),
                _ => None,
            })
            .collect()
    }
}

fn check(name: &str, mut screen: Screen) {
    let text = screen.text();
    let name = format!("{name}-{}x{}", screen.app.size.width, screen.app.size.height);
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn loading() {
    check("loading", Screen::new(NARROW));
    check("loading", Screen::new(WIDE).pressed(KeyCode::Char('n')));
}

#[test]
fn start() {
    check("start", Screen::ready(NARROW));
    check("start", Screen::ready(WIDE));
}

#[test]
fn after_encode_prompt() {
    let said = "encode_prompt done (18 ms); next: get_latent";
    check("encode_prompt", Screen::at(NARROW, fake::view(1, 1), said));
    check("encode_prompt", Screen::at(WIDE, fake::view(1, 1), said));
}

#[test]
fn after_get_latent() {
    let said = "get_latent done (0 ms); next: denoise 0";
    check("get_latent", Screen::at(NARROW, fake::view(2, 2), said));
    check("get_latent", Screen::at(WIDE, fake::view(2, 2), said));
}

#[test]
fn after_denoise() {
    let said = "denoise 30 done (t = 941, 150 ms); next: denoise 31";
    check("denoise", Screen::at(NARROW, fake::view(33, 33), said));
    let decoded = Screen::at(WIDE, fake::view(33, 33), said).told(fake::preview(33, "pred_original_sample"));
    check("denoise", decoded);
}

#[test]
fn one_picture_enlarged() {
    let said = "denoise 30 done (t = 941, 150 ms); next: denoise 31";
    let screen = Screen::at(WIDE, fake::view(33, 33), said);
    check("enlarged", screen.pressed(KeyCode::Tab).pressed(KeyCode::Tab));
}

#[test]
fn while_a_step_runs() {
    let screen = Screen::at(NARROW, fake::view(4, 4), "denoise 1 done").pressed(KeyCode::Char('c'));
    let screen = screen.told(Event::Started("continue".into()));
    check("running", screen.told(Event::Progress(Stage::Denoise { step: 2 }, "denoise.unet")));
}

#[test]
fn complete() {
    let view = || fake::view(fake::STEPS + 3, fake::STEPS + 3);
    check("complete", Screen::at(NARROW, view(), "vae_decode done (1234 ms); the run is complete"));
    check("complete", Screen::at(WIDE, view(), "vae_decode done (1234 ms); the run is complete"));
}

#[test]
fn behind_the_tip() {
    let said = "denoise 2 done (t = 941, 122 ms); next: denoise 3; 10 recorded ahead";
    check("behind", Screen::at(NARROW, fake::view(5, 15), said));
    check("behind", Screen::at(WIDE, fake::view(5, 15), said));
}

#[test]
fn an_error_is_told() {
    let error = "`walk` is no command; expected one of next, back, continue, reverse-continue, until, goto, restart, \
                 break, tbreak, delete, info, print, set, save, help, quit";
    check("error", Screen::ready(NARROW).told(fake::failed("walk", error)));
}

#[test]
fn help_lists_every_key_and_command() {
    check("help", Screen::ready(NARROW).pressed(KeyCode::Char('?')));
    check("help", Screen::ready(WIDE).pressed(KeyCode::Char('?')));
    check("help-end", Screen::ready(NARROW).pressed(KeyCode::Char('?')).pressed(KeyCode::End));
}

#[test]
fn the_command_line() {
    check("typing", Screen::ready(NARROW).typed(":set prompt 青い背景の赤いりんご"));
}

#[test]
fn output_of_many_lines_has_a_page() {
    let view = fake::view(4, 4);
    check("output", Screen::ready(NARROW).told(fake::answered("info tensors", view, &[])));
}

#[test]
fn what_is_not_finite_is_marked() {
    let mut screen = Screen::at(NARROW, fake::broken(3), "denoise 0 done");
    screen.draw();
    let buffer = screen.terminal.backend().buffer();
    let alarming = buffer.content().iter().filter(|cell| cell.style().bg == theme::ALARM.bg);
    assert_eq!(alarming.map(|cell| cell.symbol()).collect::<String>(), "12");
    check("nan", screen);
}

#[test]
fn a_long_prompt_in_japanese_and_what_residuals_are() {
    let mut view = fake::view(3, 3);
    view.request.prompt =
        "青い背景の上に置かれた、つやつやと光る赤いりんごの油絵。柔らかな朝の光、静物画、傑作".into();
    view.request.negative_prompt = "ぼやけた\x1b[2J写真".into();
    let model =
        ModelLine { name: "/home/me/モデル/stable-diffusion-2".into(), ..fake::model("v_prediction") };
    let ready = |size| Screen::new(size).told(Event::Ready(model.clone(), view.clone().into()));
    check("japanese", ready(NARROW));
    check("japanese", ready(WIDE));
}

#[test]
fn the_smallest_and_smaller() {
    check("smallest", Screen::at((40, 12), fake::view(33, 33), "denoise 30 done"));
    check("too-small", Screen::ready((39, 11)));
    check("too-small", Screen::ready((9, 3)));
}

#[test]
fn a_key_gives_the_command_and_others_wait_for_it() {
    let screen = Screen::ready(NARROW).pressed(KeyCode::Char('n'));
    assert_eq!(screen.orders(), ["next"]);
    let screen = screen.pressed(KeyCode::Char('n')).pressed(KeyCode::Char('b'));
    assert!(screen.effects.is_empty());
    let screen = screen.told(fake::moved("next", fake::view(1, 1), ""));
    assert_eq!(screen.orders(), ["next"]);
    let screen = screen.told(fake::moved("next", fake::view(2, 2), ""));
    assert_eq!(screen.orders(), ["back"]);
}

#[test]
fn a_key_of_the_walk_closes_a_page() {
    let screen = Screen::ready(NARROW).pressed(KeyCode::Char('?')).pressed(KeyCode::Down);
    assert!(screen.effects.is_empty());
    assert_eq!(screen.pressed(KeyCode::Char('n')).orders(), ["next"]);
}

#[test]
fn a_failure_drops_what_waits() {
    let screen = Screen::ready(NARROW).pressed(KeyCode::Char('n')).pressed(KeyCode::Char('n'));
    let screen = screen.told(fake::failed("next", "no"));
    assert!(screen.effects.is_empty() && screen.app.state.waiting.is_empty());
}

#[test]
fn escape_interrupts_what_runs_and_drops_what_waits() {
    let screen = Screen::ready(NARROW).pressed(KeyCode::Char('c')).pressed(KeyCode::Char('n'));
    let screen = screen.pressed(KeyCode::Esc);
    assert!(matches!(screen.effects[..], [Effect::Interrupt]));
    assert!(screen.app.state.waiting.is_empty());
    let idle = Screen::ready(NARROW).pressed(KeyCode::Esc);
    assert!(idle.effects.is_empty());
}

#[test]
fn ctrl_c_twice_leaves_when_nothing_runs() {
    let ctrl_c = || KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    let running = Screen::ready(NARROW).pressed(KeyCode::Char('c')).pressed(ctrl_c());
    assert!(matches!(running.effects[..], [Effect::Interrupt]));
    let asked = Screen::ready(NARROW).pressed(ctrl_c());
    assert!(asked.effects.is_empty());
    assert!(matches!(asked.pressed(ctrl_c()).effects[..], [Effect::End(Ok(()))]));
    let other = Screen::ready(NARROW).pressed(ctrl_c()).pressed(KeyCode::Tab).pressed(ctrl_c());
    assert!(other.effects.is_empty());
}

#[test]
fn a_typed_line_goes_to_the_worker_and_quit_ends() {
    let screen = Screen::ready(NARROW).typed(":break denoise 3").pressed(KeyCode::Enter);
    assert_eq!(screen.orders(), ["break denoise 3"]);
    let screen = Screen::ready(NARROW).typed(":quit").pressed(KeyCode::Enter);
    assert!(matches!(screen.effects[..], [Effect::End(Ok(()))]));
}

#[test]
fn models_that_do_not_load_end_it() {
    let screen = Screen::new(NARROW).told(Event::LoadFailed("no such folder".into()));
    assert!(matches!(&screen.effects[..], [Effect::End(Err(Error::Load(why)))] if why == "no such folder"));
}

#[test]
fn a_decoded_picture_takes_the_place_of_the_instant_one() {
    let label = |screen: &Screen| screen.app.state.record().unwrap().pictures[0].picture.label.clone();
    let screen = Screen::at(NARROW, fake::view(3, 3), "").told(fake::preview(3, "latents"));
    assert_eq!(label(&screen), "decoded by the VAE");
    // One that comes too late belongs elsewhere.
    let screen = screen.told(fake::moved("back", fake::view(2, 3), "")).told(fake::preview(3, "latents"));
    assert_eq!(label(&screen), "linear estimate");
}
