//! A lesson with a simulated reader and debugger.

use super::*;
use crate::debugger::expr::Answer;
use crate::lesson::problem::Source;
use proptest::prelude::*;

const LESSON: &str = "\
---
title: T
summary: S
minutes: 1
---

<!-- view: residuals -->

It is {{ step }}.

```predict
Why?
- so | step == 1
- [ ] no
because
```

```dbg
next
print latents
```

```expect
step > 0 && step < 9
```

Now {{ step }}.

```try
Go on.
expect: stage == \"complete\"
hint: one
hint: two
solution: goto denoise 3
solution: continue
```

```predict
And?
- [x] yes
- [ ] no
because
```

```dbg
back
```
";

fn lesson() -> Arc<Lesson> {
    Arc::new(Lesson::read(Source::new("a.md", LESSON)).unwrap())
}

/// A reading, and the effects that it requested.
struct Reader {
    reading: Reading,
    wishes: Vec<LessonEffect>,
}

impl Reader {
    fn new(before: Option<&LessonProgress>) -> Self {
        let mut reading = Reading::new(lesson(), before);
        let wishes = reading.start();
        Self { reading, wishes }
    }

    fn act(&mut self, act: Act) -> &mut Self {
        self.wishes.extend(self.reading.act(act));
        self
    }

    /// Carries out effects until none is left.
    fn settle(&mut self) -> Vec<LessonEffect> {
        let mut done = vec![];
        while !self.wishes.is_empty() {
            for wish in std::mem::take(&mut self.wishes) {
                let news = match &wish {
                    LessonEffect::Run(line) => {
                        self.reading.given(&line.command);
                        self.reading.ran(Some(vec![format!("did {}", line.text)]))
                    }
                    LessonEffect::ComeBack => self.reading.ran(Some(vec![])),
                    LessonEffect::Evaluate(number, expressions) => {
                        let answers = expressions.iter().map(|e| match e.text() {
                            "step" => Ok(Answer::Text("1".into())),
                            _ => Ok(Answer::Bool(true)),
                        });
                        self.reading.evaluated(*number, answers.collect())
                    }
                    _ => vec![],
                };
                done.push(wish);
                self.wishes.extend(news);
            }
        }
        done
    }

    /// Runs a command that the reader types.
    fn types(&mut self, line: &str) -> &mut Self {
        self.reading.given(&Command::parse(line).unwrap().unwrap());
        self.wishes.extend(self.reading.ran(Some(vec![])));
        self
    }
}

fn runs(wishes: &[LessonEffect]) -> Vec<&str> {
    let run = |wish: &'_ LessonEffect| match wish {
        LessonEffect::Run(line) => Some(line.text.clone()),
        LessonEffect::ComeBack => Some("come back".into()),
        _ => None,
    };
    let lines: Vec<String> = wishes.iter().filter_map(run).collect();
    lines.into_iter().map(|line| &*line.leak()).collect()
}

#[test]
fn a_lesson_from_its_beginning_to_its_end() {
    let mut reader = Reader::new(None);
    let first = reader.settle();
    assert!(first.contains(&LessonEffect::Show("residuals")) && first.contains(&LessonEffect::Mark));
    assert_eq!(reader.reading.progress(), (0, 4 + 1));
    assert!(matches!(reader.reading.stop(), Some(Part::Predict(_))));
    // No command runs before the question is answered.
    assert!(reader.act(Act::Go).act(Act::All).act(Act::Answer(2)).settle().is_empty());
    let kept = reader.act(Act::Answer(1)).settle();
    assert!(
        kept.iter()
            .any(|wish| matches!(wish, LessonEffect::Keep(s) if s.done == 1 && s.answers == [Some(1)]))
    );
    // One line at a time; its messages are stored.
    assert_eq!(runs(&reader.act(Act::Go).settle()), ["next"]);
    assert_eq!(reader.reading.line(), 1);
    assert_eq!(runs(&reader.act(Act::Go).settle()), ["print latents"]);
    let (place, _, known) =
        reader.reading.shown().find(|(_, part, _)| matches!(part, Part::Commands(_))).unwrap();
    assert_eq!((known.messages.len(), known.answers.as_slice()), (2, &[2][..]), "{place}");
    assert_eq!(reader.reading.known(2).unwrap().right_choices(), Some(vec![0]));
    assert!(reader.reading.shown().any(|(_, part, known)| {
        matches!(part, Part::Expect(_)) && known.held[0].as_ref().is_some_and(ConditionResult::holds)
    }));
    // The task, with its hints and its solution.
    reader.act(Act::Hint).act(Act::Hint).act(Act::Hint);
    assert_eq!(reader.reading.known(reader.reading.at()).unwrap().hints, 2);
    assert!(reader.act(Act::Go).settle().is_empty());
    assert_eq!(runs(&reader.act(Act::All).settle()), ["goto denoise 3", "continue"]);
    reader.act(Act::Answer(0));
    let last = reader.act(Act::All).settle();
    assert_eq!(runs(&last), ["back"]);
    assert!(last.iter().any(|wish| matches!(wish, LessonEffect::Keep(s) if s.done == 5 && s.finished)));
    assert!(reader.reading.stop().is_none());
    assert!(reader.act(Act::Go).settle().is_empty());
}

#[test]
fn a_line_that_the_reader_types_counts() {
    let mut reader = Reader::new(None);
    reader.act(Act::Answer(0)).settle();
    reader.types("n").settle();
    assert_eq!(reader.reading.line(), 1);
    // A read-only command changes nothing.
    reader.types("info tensors").settle();
    assert_eq!((reader.reading.line(), reader.reading.has_strayed()), (1, false));
    reader.types("p  latents").settle();
    assert!(matches!(reader.reading.stop(), Some(Part::Try(_))));
}

#[test]
fn a_reader_who_strays_comes_back() {
    let mut reader = Reader::new(None);
    reader.act(Act::Answer(0)).settle();
    reader.types("set seed 3").settle();
    assert!(reader.reading.has_strayed());
    // Away from the lesson's position, no line counts as the lesson's.
    reader.types("next").settle();
    assert_eq!(reader.reading.line(), 0);
    assert_eq!(runs(&reader.act(Act::ComeBack).settle()), ["come back"]);
    assert!(!reader.reading.has_strayed());
    assert!(reader.act(Act::ComeBack).settle().is_empty());
    // To go on, the session returns first.
    reader.types("back").settle();
    assert_eq!(runs(&reader.act(Act::All).settle()), ["come back", "next", "print latents"]);
    // The same after the cursor has moved.
    reader.types("continue").settle();
    reader.act(Act::Answer(0)).settle();
    reader.wishes.extend(reader.reading.looked());
    assert!(!reader.reading.has_strayed());
    assert_eq!(runs(&reader.act(Act::Go).settle()), ["come back", "back"]);
}

#[test]
fn a_task_is_done_by_what_its_reader_does() {
    let mut reader = Reader::new(None);
    reader.act(Act::Answer(0)).act(Act::All).settle();
    reader.types("goto denoise 3").settle();
    assert!(matches!(reader.reading.stop(), Some(Part::Predict(_))), "its condition holds in this test");
    assert!(!reader.reading.has_strayed());
    assert_eq!(reader.reading.progress(), (3, 5));
}

#[test]
fn a_line_that_fails_is_tried_again_from_where_the_lesson_was() {
    let mut reader = Reader::new(None);
    reader.act(Act::Answer(0)).settle();
    for interrupted in [false, true] {
        reader.act(Act::Go);
        if let Some(LessonEffect::Run(line)) =
            reader.wishes.iter().find(|wish| matches!(wish, LessonEffect::Run(_)))
        {
            reader.reading.given(&line.command);
        }
        reader.wishes.clear();
        if interrupted {
            reader.reading.interrupt();
        }
        assert!(reader.reading.ran(Some(vec![]).filter(|_| interrupted)).is_empty());
        assert_eq!(reader.reading.line(), 0);
        reader.act(Act::ComeBack).settle();
    }
}

#[test]
fn it_goes_on_where_it_was_left() {
    let before = LessonProgress { done: 3, of: 5, finished: false, answers: vec![Some(1)] };
    let mut reader = Reader::new(Some(&before));
    assert!(reader.reading.is_replaying());
    assert!(reader.reading.act(Act::Go).is_empty(), "it is busy");
    let wishes = reader.settle();
    assert_eq!(runs(&wishes), ["next", "print latents", "goto denoise 3", "continue"]);
    assert_eq!(reader.reading.progress(), (3, 5));
    assert_eq!(reader.reading.known(2).unwrap().answer, Some(1));
    // A changed or finished lesson starts from the beginning.
    for before in
        [LessonProgress { of: 6, ..before.clone() }, LessonProgress { done: 5, finished: true, ..before }]
    {
        let mut reader = Reader::new(Some(&before));
        assert!(runs(&reader.settle()).is_empty());
        assert_eq!(reader.reading.progress(), (0, 5));
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Act(Act),
    Typed(&'static str),
    Ran(bool),
    Interrupted,
    Looked,
    Evaluated(Vec<bool>),
}

fn happens() -> impl Strategy<Value = Happens> {
    let act = prop_oneof![
        4 => Just(Act::Go), 2 => Just(Act::All), 1 => Just(Act::Hint), 1 => Just(Act::ComeBack),
        2 => (0usize..4).prop_map(Act::Answer)
    ];
    let typed = proptest::sample::select(vec!["next", "n", "print latents", "back", "set seed 3"]);
    prop_oneof![
        6 => act.prop_map(Happens::Act),
        2 => typed.prop_map(Happens::Typed),
        6 => prop::bool::weighted(0.9).prop_map(Happens::Ran),
        1 => Just(Happens::Interrupted),
        1 => Just(Happens::Looked),
        4 => prop::collection::vec(any::<bool>(), 0..5).prop_map(Happens::Evaluated),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_a_prediction_comes_before_its_commands(
        happened in prop::collection::vec(happens(), 0..120), done in 0usize..7, answers in prop::collection::vec(prop::option::of(0usize..5), 0..3)
    ) {
        let before = LessonProgress { done, of: 5, finished: false, answers };
        let mut reading = Reading::new(lesson(), Some(&before));
        let replays = reading.is_replaying();
        let mut wishes = reading.start();
        let (mut busy, mut sent, mut kept) = (false, vec![], 0);
        for event in happened {
            for wish in std::mem::take(&mut wishes) {
                match wish {
                    LessonEffect::Run(line) => {
                        prop_assert!(!busy, "one command at a time");
                        reading.given(&line.command);
                        busy = true;
                        let asked = reading.shown().filter(|(place, part, _)| {
                            *place < reading.at() && matches!(part, Part::Predict(_))
                        });
                        let unanswered = asked.filter(|(_, _, known)| known.answer.is_none()).count();
                        prop_assert!(unanswered == 0 || replays);
                        prop_assert!(!matches!(reading.stop(), Some(Part::Predict(_))));
                    }
                    LessonEffect::ComeBack => {
                        prop_assert!(!busy);
                        busy = true;
                    }
                    LessonEffect::Evaluate(number, _) => sent.push(number),
                    LessonEffect::Keep(standing) => {
                        prop_assert!(standing.done >= kept && standing.done <= standing.of);
                        kept = standing.done;
                    }
                    LessonEffect::Mark | LessonEffect::Show(_) => {}
                }
            }
            wishes = match event {
                Happens::Act(act) => reading.act(act),
                Happens::Typed(line) if !busy => {
                    reading.given(&Command::parse(line).unwrap().unwrap());
                    busy = true;
                    vec![]
                }
                Happens::Typed(_) => vec![],
                Happens::Ran(well) if busy => {
                    busy = false;
                    reading.ran(Some(vec!["said".into()]).filter(|_| well))
                }
                Happens::Ran(_) => vec![],
                Happens::Interrupted => {
                    reading.interrupt();
                    vec![]
                }
                Happens::Looked => reading.looked(),
                Happens::Evaluated(answers) => {
                    let number = sent.pop().unwrap_or(99);
                    reading.evaluated(number, answers.into_iter().map(|truth| Ok(Answer::Bool(truth))).collect())
                }
            };
            let (done, of) = reading.progress();
            prop_assert!(done <= of && reading.shown().count() <= reading.lesson().parts.len());
        }
    }
}
