//! A line as it is typed into the debugger: parsed, completed, and underlined where it is wrong.
#![no_main]

use diffuscope::debugger::Command;
use diffuscope::debugger::language::complete::{Names, complete, error_span};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    match Command::parse(line) {
        Ok(Some(command)) => drop((command.is_read_only(), command.moves_cursor(), command.to_string())),
        Ok(None) => {}
        Err(e) => {
            let error = e.to_string();
            let wrong = error_span(line, &error);
            assert!(wrong.is_none_or(|at| line.get(at).is_some()), "not between characters: {error}");
        }
    }
    let names = Names::default();
    for cursor in 0..=line.len().min(200) {
        let completions = complete(line, cursor, &names);
        assert!(line.is_char_boundary(completions.from));
    }
});
