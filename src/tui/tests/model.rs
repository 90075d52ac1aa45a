//! The model view: the tree, the hourglass, feature maps. The results have the shapes of the recorded run and synthetic
//! numbers, so that they are the same on every machine.

use super::recorded;
use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::view::Viewer;
use crate::debugger::{Event, Examination, InspectQuery, Inspection};
use crate::nn::Unwatched;
use crate::picture::Picture;
use crate::tensor::Summary;
use crate::tui::app::Effect;
use crate::tui::view::ViewId;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};
use std::sync::Arc;
use std::time::Duration;

impl Screen {
    /// The queries that are not answered yet.
    fn asked(&self) -> Vec<Examination> {
        let asked = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Examine(asked) => Some(asked.clone()),
            _ => None,
        });
        asked.unwrap_or_default()
    }

    /// Answers the queries with synthetic numbers.
    fn found(mut self) -> Self {
        for asked in self.asked() {
            let result =
                self.viewer.examine(&self.session, &asked, &mut Unwatched).map_err(|e| e.to_string());
            self = self.received(Event::Inspected(asked, result.map(|found| Arc::new(made_up(found)))));
        }
        self
    }
}

fn made_up(found: Inspection) -> Inspection {
    match found {
        Inspection::Modules(mut run) => {
            for (at, module) in run.modules.iter_mut().enumerate() {
                let spread = 0.05 * 1.03f64.powi((at * 37 % 100) as i32);
                let summary = Summary {
                    mean: 0.01 * (at % 9) as f64 - 0.04,
                    std: spread,
                    min: -3. * spread,
                    max: 2.5 * spread,
                    l2: 1.,
                    nan: 0,
                    inf: 0,
                };
                (module.summary, module.took) =
                    (summary, Some(Duration::from_micros(20 + (at * 61 % 900) as u64)));
            }
            Inspection::Modules(run)
        }
        Inspection::Picture(picture) => {
            Inspection::Picture(Picture { label: "principal components of 64 channels".into(), ..picture })
        }
        other => other,
    }
}

fn model(size: (u16, u16), done: usize) -> Screen {
    Screen::after(size, done).typed("0").found()
}

#[test]
fn the_model_from_inside() {
    for size in [NARROW, WIDE] {
        check("model-start", Screen::after(size, 0).typed("0"));
        check("model-asked", Screen::after(size, 8).typed("0"));
        check("model-denoise", model(size, 8));
        check("model-vae", model(size, 23));
        check("model-clip", model(size, 1));
        check("model-noise", model(size, 2));
    }
}

#[test]
fn modules_are_opened_and_drawn() {
    for size in [NARROW, WIDE] {
        // Into down_blocks.1, and its attention.
        let screen = model(size, 8).typed("jjjjjljjll").found();
        check("model-opened", screen);
        let screen = model(size, 8).typed("jjjj").found().pressed(KeyCode::Enter).typed("d").found();
        check("model-enlarged", screen);
        let screen = model(size, 8).typed("z");
        check("model-zoomed", screen);
        let filtered = model(size, 8).typed("/*attn2").pressed(KeyCode::Enter).typed("v");
        check("model-filtered", filtered);
    }
    check("model-flow-zoomed", model(NARROW, 8).pressed(KeyCode::Tab).typed("z"));
}

#[test]
fn heat_goes_round_and_rows_too() {
    let mut screen = model(WIDE, 8);
    for name in ["mean", "|max|", "NaN, Inf", "time", "std"] {
        screen = screen.typed("v");
        assert!(screen.text().contains(&format!("modules of denoise 5: {name} ")), "{}", screen.text());
    }
    // All rows are drawn side by side, then each alone.
    for (row, names) in [("text", 1), ("uncond", 1), ("difference", 1), ("all", 3)] {
        screen = screen.typed("u").found();
        let asked: Vec<Examination> = screen.app.views.of(ViewId::Model).examines(&screen.app.state);
        let drawn = asked.iter().filter(|asked| matches!(asked.asked, InspectQuery::Features(_))).count();
        assert_eq!(drawn, names, "{row}");
    }
}

#[test]
fn a_breakpoint_is_set_and_deleted_at_the_module() {
    let screen = model(WIDE, 8).typed("jjjjj").found().settled().typed("B");
    assert_eq!(screen.orders(), ["break unet.down_blocks.1"]);
    let mut screen = screen.served();
    assert!(screen.text().contains("●  ▸ down_blocks.1"), "{}", screen.text());
    let screen = screen.settled().typed("B");
    assert_eq!(screen.orders(), ["delete 1"]);
}

#[test]
fn queries_that_are_no_longer_visible_are_withdrawn() {
    let screen = Screen::after(WIDE, 8).typed("0");
    assert_eq!(screen.asked().len(), 4);
    let screen = screen.typed("1");
    let given_up = |effect: &Effect| matches!(effect, Effect::Examine(asked) if asked.is_empty());
    assert!(screen.effects.iter().any(given_up), "{:?}", screen.effects);
    // A known result is not requested again.
    let screen = model(WIDE, 8).typed("1").settled().typed("0");
    assert!(
        !screen.effects.iter().any(|effect| matches!(effect, Effect::Examine(_))),
        "{:?}",
        screen.effects
    );
}

#[test]
fn the_mouse_chooses_rows_and_bars() {
    let mut screen = model(WIDE, 8);
    let text = screen.text();
    let row = text.lines().position(|line| line.contains("mid_block")).unwrap() as u16;
    screen = screen.mouse(MouseEventKind::Down(MouseButton::Left), (6, row));
    assert!(screen.text().contains(" unet.mid_block ─"), "{}", screen.text());
    let (at, line) =
        text.lines().enumerate().find(|(_, line)| line.contains("mid") && line.contains("u0")).unwrap();
    let column = line[..line.find("u1").unwrap()].chars().count() as u16;
    screen = screen.mouse(MouseEventKind::Down(MouseButton::Left), (column, at as u16));
    assert!(screen.text().contains(" unet.up_blocks.1 ─"), "{}", screen.text());
}

#[test]
fn a_complete_run_shows_when_pixels_settled() {
    let session = recorded::session(recorded::STEPS + 3);
    let view = Viewer::default().view(&session).unwrap();
    let picture = view.record().unwrap().picture("timemap").unwrap();
    assert_eq!(picture.picture.image.dimensions(), (16, 16));
    assert!(picture.picture.label.starts_with("dark = settled early (step "));
}

#[test]
fn the_current_module_of_a_paused_stage_is_marked() {
    let mut screen = Screen::after(WIDE, 8).computed("step").typed("0");
    assert!(screen.text().contains("▶ ▾ unet"), "{}", screen.text());
    screen = screen.computed("step");
    let inside = screen.app.state.view.as_ref().unwrap().inside.as_ref().unwrap();
    let module = inside.module.clone().unwrap();
    let name = module.rsplit('.').next().unwrap();
    assert!(screen.text().contains(&format!("▶    {name}")), "{module}\n{}", screen.text());
}
