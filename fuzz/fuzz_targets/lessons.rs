//! A lesson's text, and the reports of what is wrong with it.
#![no_main]

use diffuscope::lesson::Lesson;
use diffuscope::lesson::problem::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = Lesson::read(Source::new("lesson.md", text)) {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(problem.line() <= text.lines().count() + 1);
            problem.report(true);
        }
    }
});
