//! The state machine against a model of it: whatever is typed, the cursor is where it should be, and what is recorded
//! there is what a straight run makes.

use crate::models::SD2;
use candle_core::Tensor;
use diffuscope::debugger::host::Host;
use diffuscope::debugger::session::Session;
use diffuscope::debugger::session::SessionHost;
use diffuscope::nn::{Path, Probe, Unwatched};
use diffuscope::pipeline::{Request, Snapshot, Stage, advance};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

const STEPS: usize = 3;
/// Stages of a run, and so the index behind the last.
const STAGES: usize = STEPS + 3;

fn request() -> Request {
    let native = Request::for_models(&SD2, "a cat");
    Request { width: 16, height: 16, num_inference_steps: STEPS, eta: 0.5, ..native }
}

/// The bits of the last tensor that each stage of a straight run makes.
static STRAIGHT: LazyLock<Vec<Vec<u32>>> = LazyLock::new(|| {
    let mut snapshot = Snapshot::start(request(), &SD2).unwrap();
    let mut made = vec![];
    while snapshot.position().is_some() {
        snapshot = advance(&snapshot, &SD2, &mut Unwatched).unwrap();
        made.push(bits(&snapshot));
    }
    made
});

fn bits(snapshot: &Snapshot) -> Vec<u32> {
    let (_, tensor) = snapshot.last().unwrap().tensors.last().unwrap();
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// A move, as it is typed.
#[derive(Debug, Clone)]
enum Move {
    Next(usize),
    Back(usize),
    Continue,
    ReverseContinue,
    Until(usize),
    Goto(usize),
    Restart,
}

impl Move {
    fn line(&self) -> String {
        let stage = |index: usize| Stage::at(index, &(0..STEPS)).unwrap();
        match self {
            Self::Next(n) => format!("next {n}"),
            Self::Back(n) => format!("back {n}"),
            Self::Continue => "continue".into(),
            Self::ReverseContinue => "reverse-continue".into(),
            Self::Until(index) => format!("until {}", stage(*index)),
            Self::Goto(index) => format!("goto {}", stage(*index)),
            Self::Restart => "restart".into(),
        }
    }
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (1..4usize).prop_map(Move::Next),
        3 => (1..4usize).prop_map(Move::Back),
        1 => Just(Move::Continue),
        1 => Just(Move::ReverseContinue),
        2 => (0..STAGES).prop_map(Move::Until),
        2 => (0..STAGES).prop_map(Move::Goto),
        1 => Just(Move::Restart),
    ]
}

/// What a timeline is, without anything on it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Expected {
    cursor: usize,
    recorded: usize,
}

impl Expected {
    /// Where a move leads; `None` where it is refused.
    fn after(self, made: &Move) -> Option<Self> {
        let (ahead, behind) = (self.cursor < STAGES, self.cursor > 0);
        let cursor = match made {
            Move::Restart => return Some(Self { cursor: 0, recorded: 0 }),
            Move::Next(n) => ahead.then_some((self.cursor + n).min(STAGES))?,
            Move::Continue => ahead.then_some(STAGES)?,
            Move::Back(n) => behind.then_some(self.cursor.saturating_sub(*n))?,
            Move::ReverseContinue => behind.then_some(0)?,
            Move::Until(index) => (*index > self.cursor).then_some(*index)?,
            Move::Goto(index) => *index,
        };
        Some(Self { cursor, recorded: self.recorded.max(cursor) })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_is_typed(made in prop::collection::vec(moves(), 1..12)) {
        let mut session = Session::new(Arc::clone(&SD2), request()).unwrap();
        let mut expected = Expected { cursor: 0, recorded: 0 };
        for step in made {
            let result = session.run_line(&step.line(), &mut Unwatched);
            let after = expected.after(&step);
            prop_assert_eq!(result.is_ok(), after.is_some(), "{:?} at {:?}", step, expected);
            expected = after.unwrap_or(expected);

            let timeline = session.timeline();
            let found = Expected { cursor: timeline.cursor(), recorded: timeline.recorded() };
            prop_assert_eq!(found, expected, "after {:?}", step);
            prop_assert_eq!(timeline.position(), Stage::at(expected.cursor, &(0..STEPS)));
            if expected.cursor > 0 {
                prop_assert!(bits(timeline.here()) == STRAIGHT[expected.cursor - 1], "other bits after {:?}", step);
            }
        }
    }
}

/// A GPU whose memory does not last beyond a piece of the UNet: its driver's words, as candle hands them on.
struct NoRoom;

impl Probe for NoRoom {
    fn wants(&self, path: &Path) -> bool {
        path.as_str() == "unet.mid_block"
    }

    fn exit(&mut self, _: &Path, _: Tensor) -> diffuscope::nn::Result<Tensor> {
        let said = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;
        Err(candle_core::Error::Msg(said.into()).bt().into())
    }
}

impl SessionHost for NoRoom {}

impl Host for NoRoom {}

/// Out of memory is an error like another: what ran is there, can be looked at, and goes on when there is room.
#[test]
fn a_gpu_without_memory_ends_a_stage_and_not_the_session() {
    let mut session = Session::new(Arc::clone(&SD2), request()).unwrap();
    session.run_line("next 3", &mut Unwatched).unwrap();
    for line in ["next", "continue", "step", "finish"] {
        let Err(error) = session.run_line(line, &mut NoRoom) else { continue };
        let said = error.to_string();
        for words in [
            "denoise 1: ",
            "no memory left for 16×16 pixels in f32",
            "earlier stages are kept",
            "--dtype f16",
        ] {
            assert!(said.contains(words), "{line}: `{words}` is not in: {said}");
        }
        assert_eq!(session.timeline().here().records().len(), 3, "{line}");
    }
    assert!(session.run_line("next", &mut NoRoom).is_err());
    session.run_line("print latents.std", &mut NoRoom).unwrap();
    session.run_line("back", &mut NoRoom).unwrap();
    session.run_line("continue", &mut Unwatched).unwrap();
    assert_eq!(&bits(session.timeline().here()), STRAIGHT.last().unwrap());
}
