//! A lesson beside the views, on the recorded run.

use super::recorded;
use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::{Event, Outcome};
use crate::lesson::format::VIEWS;
use crate::lesson::problem::Source;
use crate::lesson::{Lesson, LessonProgress, Part, Reading};
use crate::tui::app::{Effect, Mode};
use crate::tui::canvas::Target;
use crate::tui::view::ViewId;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};
use std::sync::Arc;

const PRESS: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
const LANGUAGES: [(&str, &str); 2] =
    [("en", include_str!("lesson.en.md")), ("ja", include_str!("lesson.ja.md"))];

/// The lesson of this folder; both languages are the same lesson.
pub fn lesson(language: &str) -> Arc<Lesson> {
    let (_, text) = LANGUAGES.into_iter().find(|(known, _)| *known == language).unwrap();
    let name = format!("lesson.{language}.md");
    Arc::new(Lesson::read(Source::new(name, text)).unwrap_or_else(|problems| panic!("{problems:?}")))
}

fn read(language: &str, size: (u16, u16)) -> Screen {
    Screen::reading(size, Reading::new(lesson(language), None))
}

fn reading(screen: &Screen) -> &Reading {
    screen.app.state.lesson.as_ref().unwrap()
}

impl Screen {
    /// A key on the screen as it is drawn, and what comes of it.
    fn key(mut self, key: impl Into<KeyEvent>) -> Self {
        self.draw();
        self.pressed(key).served()
    }

    fn keys(self, keys: &str) -> Self {
        keys.chars()
            .fold(self, |screen, c| screen.key(if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) }))
    }
}

#[test]
fn a_lesson_in_both_languages() {
    for (language, _) in LANGUAGES {
        for size in [NARROW, WIDE] {
            let name = |what: &str| format!("lesson-{language}-{what}");
            check(&name("start"), read(language, size));
            // Its end may be out of sight: Enter goes there first.
            let asked = read(language, size).key(KeyCode::PageDown).keys("xx");
            assert!(matches!(reading(&asked).stop(), Some(Part::Predict(_))));
            check(&name("asked"), asked);
            let answered = read(language, size).key(KeyCode::PageDown).keys("xx\na\n");
            check(&name("answered"), answered.keys("h"));
        }
    }
}

#[test]
fn a_reader_who_strays_is_told_and_comes_back() {
    let strayed = || read("en", WIDE).key(KeyCode::PageDown).keys("x").ran("goto denoise 9").served();
    let strayed = || strayed().keys("a").ran("fork elsewhere").served();
    let mut screen = strayed();
    assert!(reading(&screen).has_strayed() && screen.text().contains("You are elsewhere"));
    check("lesson-strayed", screen);
    let screen = strayed().keys("w");
    assert_eq!((screen.app.state.cursor(), reading(&screen).has_strayed()), (8, false));
    let names: Vec<&str> =
        screen.app.state.view.as_ref().unwrap().timelines.iter().map(|timeline| &*timeline.name).collect();
    assert_eq!(names, ["main", "my-elsewhere"]);
    let mut again = screen.keys("w");
    assert!(again.text().contains("this is where the lesson is"));
    // Going on comes back first.
    let screen = strayed().keys("\n");
    assert_eq!(screen.app.state.cursor(), 9);
}

#[test]
fn numbers_follow_the_reader() {
    let screen = read("en", WIDE).key(KeyCode::PageDown).keys("x");
    let mut there = screen;
    assert!(there.text().contains("The step at hand is 6"), "{}", there.text());
    let mut looked = there.key(KeyCode::Right);
    assert!(looked.text().contains("The step at hand is 7"), "{}", looked.text());
    assert!(!reading(&looked).has_strayed());
    let mut back = looked.keys("a").keys("\n");
    assert!(back.text().contains("It is step 7 now"), "{}", back.text());
}

#[test]
fn to_its_end_by_keys_alone() {
    let mut screen = read("ja", NARROW);
    for _ in 0..40 {
        let key = match reading(&screen).stop() {
            Some(Part::Predict(_)) => 'b',
            Some(Part::Try(_)) => 'x',
            Some(_) => '\n',
            None => break,
        };
        screen = screen.keys(&key.to_string());
    }
    assert!(screen.text().contains("part 4 of 4") || screen.text().contains("■ The lesson is done."));
    let last = screen.kept.last().unwrap();
    assert_eq!((last.done, last.of, last.finished, last.answers.clone()), (4, 4, true, vec![Some(1)]));
    assert_eq!(screen.kept.iter().map(|kept| kept.done).collect::<Vec<_>>(), [1, 2, 3, 4]);
    check("lesson-ja-done", screen);
}

#[test]
fn it_goes_on_where_it_was_left() {
    let before = LessonProgress { done: 3, of: 4, finished: false, answers: vec![Some(2)] };
    let mut screen = Screen::reading(WIDE, Reading::new(lesson("en"), Some(&before)));
    assert_eq!(reading(&screen).progress(), (3, 4));
    assert_eq!((screen.app.state.cursor(), screen.app.tab), (9, ViewId::Residuals));
    assert!(screen.text().contains("✗ c"), "{}", screen.text());
}

#[test]
fn narrow_screens_show_the_lesson_or_the_view() {
    let mut screen = read("en", NARROW);
    assert!(screen.text().contains("Two answers") && !screen.text().contains("encode_prompt"));
    let mut viewed = screen.keys("L");
    assert!(!viewed.text().contains("Two answers") && viewed.text().contains("encode_prompt"));
    // So does asking for a view, and Tab goes round.
    let mut asked = viewed.keys("L2");
    assert!(!asked.text().contains("Two answers") && asked.app.tab == ViewId::Tensors);
    assert_eq!(asked.app.panes(ratatui::layout::Rect::new(0, 0, 80, 18)).len(), 1);
    let focus = |screen: Screen| screen.key(KeyCode::BackTab);
    assert_eq!(focus(asked).app.focused(), "lesson");
    let zoomed = read("en", WIDE).keys("z");
    assert_eq!(zoomed.app.panes(ratatui::layout::Rect::new(0, 0, 120, 34)).len(), 1);
    let mut other = zoomed.keys("z").key(KeyCode::Tab).keys("z");
    assert!(!other.text().contains("Two answers"));
}

#[test]
fn the_mouse_answers_runs_and_shows() {
    let press = |mut screen: Screen, text: &str| {
        let shown = screen.text();
        let (row, line) = shown.lines().enumerate().find(|(_, line)| line.contains(text)).expect(text);
        let column = line[..line.find(text).unwrap()].chars().count();
        screen.mouse(PRESS, (column as u16, row as u16)).served()
    };
    let screen = read("en", WIDE);
    assert!(
        screen.app.hits.is_empty() || screen.app.hits.iter().any(|hit| hit.target == Target::Pane("lesson"))
    );
    let ran = press(screen.key(KeyCode::PageDown), "▸ goto denoise 6");
    assert_eq!(reading(&ran).line(), 1);
    let asked = press(ran, "▸ print guidance_scale").keys("1");
    assert_eq!(asked.app.tab, ViewId::Overview);
    let shown = press(asked, "→ 3 residuals");
    assert_eq!((shown.app.tab, shown.app.focused()), (ViewId::Residuals, "lesson"));
    let answered = press(shown, "c  Neither");
    assert!(matches!(reading(&answered).stop(), Some(Part::Commands(_))));
}

#[test]
fn what_the_lesson_runs_opens_no_page() {
    let screen = read("en", WIDE).key(KeyCode::PageDown).keys("x");
    assert!(matches!(screen.app.mode, Mode::Walk));
    let screen = screen.ran("info tensors").served();
    assert!(matches!(screen.app.mode, Mode::Reading(_)));
}

#[test]
fn an_interrupted_line_is_run_again_from_where_the_lesson_was() {
    let screen = read("en", WIDE).key(KeyCode::PageDown).pressed(KeyCode::Enter);
    assert_eq!(screen.orders(), ["goto denoise 6"]);
    // Keys wait for nothing, and nothing runs twice.
    let screen = screen.pressed(KeyCode::Enter);
    assert!(screen.effects.is_empty());
    let mut screen = screen.pressed(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(matches!(screen.effects[..], [Effect::Interrupt]));
    let stopped = Outcome { stopped: Some("interrupted before unet".into()), ..Outcome::default() };
    let view = recorded::view(&screen.session, &mut screen.viewer);
    let screen = screen.told(Event::Done(stopped.into(), view)).served();
    assert_eq!(reading(&screen).line(), 0);
    let screen = screen.pressed(KeyCode::Enter);
    assert!(screen.effects.iter().any(|effect| matches!(effect, Effect::ComeBack)));
    assert_eq!(reading(&screen.served()).line(), 1);
}

#[test]
fn without_a_lesson_its_keys_say_so() {
    for key in ['L', 'w'] {
        let mut screen = Screen::after(NARROW, 3).keys(&key.to_string());
        assert!(screen.text().contains("no lesson is open"));
    }
}

#[test]
fn every_view_that_a_lesson_can_point_at_is_there() {
    assert_eq!(VIEWS.to_vec(), crate::tui::view::VIEWS.iter().map(|view| view.name).collect::<Vec<_>>());
}
