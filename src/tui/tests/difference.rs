//! The difference view: two recorded pipelines of diffusers, one with a mistake.

use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::{Event, Session};
use crate::nn::Unwatched;
use crate::tui::view::{VIEWS, ViewId};
use crossterm::event::KeyCode;
use std::path::Path;
use std::sync::Arc;

const WRONG: &str = "tests/fixtures/traces/no_bias.trace";
const RIGHT: &str = "tests/fixtures/traces/right_img2img.trace";

fn opened(size: (u16, u16), trace: &str) -> Screen {
    let mut session = Session::open(Path::new(trace)).unwrap();
    session.look(usize::MAX);
    Screen::of(size, session)
}

impl Screen {
    /// Answers the view's queries.
    fn answered(mut self) -> Self {
        let asked = self.app.views.of(ViewId::Difference).examines(&self.app.state);
        for asked in asked {
            let found = self.viewer.examine(&self.session, &asked, &mut Unwatched);
            self = self.received(Event::Inspected(asked, found.map(Arc::new).map_err(|e| e.to_string())));
        }
        self
    }
}

#[test]
fn a_difference_as_text() {
    for size in [NARROW, WIDE] {
        check("difference-nothing", opened(size, WRONG).typed("D"));
        let shown = opened(size, WRONG).ran(&format!("diff {RIGHT}")).answered();
        assert_eq!(shown.app.tab, ViewId::Difference);
        check("difference", shown);
        check("difference-same", opened(size, RIGHT).ran(&format!("diff {RIGHT}")).answered());
    }
    let all = opened(NARROW, WRONG).ran(&format!("diff {RIGHT}")).typed("vjj").answered();
    check("difference-all", all.pressed(KeyCode::Enter));
}

#[test]
fn every_view_shows_a_run_whose_scheduler_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(WRONG).unwrap().flatten() {
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let json = folder.path().join("trace.json");
    let text = std::fs::read_to_string(&json).unwrap();
    std::fs::write(&json, text.replace("DDIMScheduler", "EDMEulerScheduler")).unwrap();
    for size in [NARROW, WIDE] {
        for view in VIEWS {
            for done in 0..6 {
                let mut session = Session::open(folder.path()).unwrap();
                session.look(done);
                let mut screen = Screen::of(size, session).pressed(KeyCode::Char(view.key));
                assert!(screen.text().contains("guidance 1"), "{}", view.name);
            }
        }
    }
}
