//! `show lora`: what a LoRA does in a step. And `lora NAME …` as a way to name its scale.

use super::arguments::Look;
use crate::debugger::text::{abridged, words};
use std::borrow::Cow;
use std::path::PathBuf;
use tr::tr;

/// What `lora` is followed by.
const LORA: &str = "lora [NAME] [step K]";

/// A query about what a LoRA does in a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LoraQuery {
    /// The LoRA; all of the run without.
    pub name: Option<String>,
    /// In this step; in the one before the cursor without.
    pub step: Option<usize>,
}

/// `lora [NAME] [step K]`; to be saved, with a file before the step.
pub(super) fn parse(rest: &str, saves: bool) -> Result<(Look, Option<PathBuf>), String> {
    let words = words(rest);
    let (named, step) = match words.get(1..).unwrap_or_default() {
        [named @ .., "step", step] => {
            let found = || tr!("`{}` is no step: a number, 0 or more", abridged(step));
            (named, Some(step.parse().map_err(|_| found())?))
        }
        named => (named, None),
    };
    let (name, file) = match (saves, named) {
        (false, []) => (None, None),
        (false, [name]) => (Some(*name), None),
        (true, [file]) => (None, Some(PathBuf::from(file))),
        (true, [name, file]) => (Some(*name), Some(PathBuf::from(file))),
        (true, []) => return Err(tr!("a file is needed: save lora [NAME] FILE [step K]")),
        (_, [.., last]) => return Err(tr!("`{}` is not expected: {LORA}", abridged(last), LORA)),
    };
    Ok((Look::Lora(LoraQuery { name: name.map(String::from), step }), file))
}

/// `lora NAME …` as the setting `lora.NAME …`; any other line as it is.
pub(super) fn as_setting(rest: &str) -> Cow<'_, str> {
    match rest.strip_prefix("lora").filter(|rest| rest.starts_with(char::is_whitespace)) {
        Some(rest) => Cow::Owned(format!("lora.{}", rest.trim_start())),
        None => Cow::Borrowed(rest),
    }
}

#[cfg(test)]
mod tests {
    use crate::debugger::Command;

    fn parsed(line: &str) -> String {
        Command::parse(line).map_or_else(|e| e.to_string(), |command| command.unwrap().to_string())
    }

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for line in [
            "show lora",
            "show lora style",
            "show lora style step 3",
            "save lora a.png",
            "save lora style a.png step 3",
            "info lora",
            "info lora style",
            "set lora.style 0.5",
            "compare lora.style 0,0.5,1",
        ] {
            assert_eq!(parsed(line), line);
        }
        assert_eq!(parsed("set lora style 0.5"), "set lora.style 0.5");
        assert_eq!(parsed("set lora style = -1"), "set lora.style -1");
        assert_eq!(parsed("compare lora style 0,1 by seed 1-2"), "compare lora.style 0,1 by seed 1,2");
        assert_eq!(parsed("compare seed 1-2 by lora style 0,1"), "compare seed 1,2 by lora.style 0,1");
        assert_eq!(parsed("sweep lora style 0"), "sweep lora.style 0");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(parsed("show lora a b").contains("`b` is not expected"));
        assert!(parsed("show lora a step x").contains("`x` is no step"));
        assert!(parsed("save lora").contains("a file is needed"));
        assert!(parsed("set lora style").contains("has no value"));
    }
}
