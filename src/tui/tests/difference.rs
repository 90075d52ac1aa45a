//! The difference view: two recorded pipelines of diffusers, one with a mistake.

use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::{Event, Session};
use crate::nn::Unwatched;
use crate::tui::view::ViewId;
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
