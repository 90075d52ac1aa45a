use super::*;
use crate::checkpoint::ModelSource;
use crate::nn::Unwatched;
use crate::pipeline::{Models, Request};
use candle_core::{DType, Device};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

fn session() -> Session {
    static MODELS: LazyLock<Arc<Models>> =
        LazyLock::new(|| Arc::new(Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap()));
    let request = Request { num_inference_steps: 2, ..Request::for_models(&MODELS, "a cat") };
    Session::new(Arc::clone(&MODELS), request).unwrap()
}

/// All that `undo` brings back; recorded stages by their addresses.
fn seen(session: &Session) -> String {
    let of_branch = |branch: &crate::debugger::timeline::tree::Branch| {
        let records = branch.timeline.records();
        let places: Vec<_> = records.iter().map(Arc::as_ptr).collect();
        let request = branch.timeline.here().request();
        format!("{} {} {places:?} {request:?}", branch.name, branch.timeline.cursor())
    };
    let branches: Vec<String> = session.timelines.list().iter().map(of_branch).collect();
    let breakpoints: Vec<String> = session.breakpoints.list().iter().map(|one| format!("{one:?}")).collect();
    format!("{} {branches:#?} {breakpoints:#?} {:?}", session.timelines.current().name, session.previewing)
}

fn run(session: &mut Session, line: &str) -> bool {
    session.run_line(line, &mut Unwatched).is_ok()
}

#[test]
fn a_restart_is_undone_with_all_that_was_recorded() {
    let mut session = session();
    assert!(run(&mut session, "next 2"));
    let before = seen(&session);
    assert!(run(&mut session, "restart"));
    let after = seen(&session);
    assert_ne!(before, after);
    assert!(run(&mut session, "undo"));
    assert_eq!(seen(&session), before);
    assert!(run(&mut session, "redo"));
    assert_eq!(seen(&session), after);
    assert!(!run(&mut session, "redo"));
}

#[test]
fn ten_commands_are_undone_and_memory_drops_the_oldest() {
    let mut session = session();
    for step in 0..12 {
        assert!(run(&mut session, &format!("break denoise {}", step % 2)));
    }
    assert_eq!(session.history.make_room(false), 0);
    for _ in 0..MOST {
        assert!(run(&mut session, "undo"));
    }
    assert!(!run(&mut session, "undo"));
    assert_eq!(session.breakpoints.list().len(), 2);
    (0..MOST).for_each(|_| assert!(run(&mut session, "redo")));
    assert_eq!(session.breakpoints.list().len(), 12);
    assert_eq!(session.history.make_room(true), MOST / 2);
    assert_eq!(session.history.done.len(), MOST / 2);
}

const LINES: [&str; 12] = [
    "next",
    "back",
    "restart",
    "set guidance_scale 3",
    "set seed 7",
    "set preview off",
    "set latents[0,0,0,0] = 0",
    "break denoise 1",
    "delete",
    "fork",
    "delete timeline main",
    "switch main",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// After any commands, undoing all of them and doing them again gives the same states on the way there and back.
    #[test]
    fn undo_and_redo_return_to_equal_states(lines in prop::collection::vec(0..LINES.len(), 1..14)) {
        let mut session = session();
        for line in lines {
            let before = seen(&session);
            let depth = session.history.done.len();
            run(&mut session, LINES[line]);
            if session.history.done.len() > depth {
                let after = seen(&session);
                prop_assert!(run(&mut session, "undo"));
                prop_assert_eq!(seen(&session), before);
                prop_assert!(run(&mut session, "redo"));
                prop_assert_eq!(seen(&session), after);
            }
        }
        let mut way = vec![seen(&session)];
        while run(&mut session, "undo") {
            way.push(seen(&session));
        }
        while way.len() > 1 {
            let now = way.pop().unwrap();
            prop_assert_eq!(seen(&session), now);
            prop_assert!(run(&mut session, "redo"));
        }
        prop_assert_eq!(seen(&session), way.remove(0));
    }
}
