//! Where a stage that is stepped through shall wait.

use crate::debugger::source::module;
use crate::nn::pattern::Pattern;

/// Where a stage that runs on shall wait again.
#[derive(Debug, Clone, Default)]
pub struct ResumeUntil {
    /// Before which piece at the latest.
    pub until: Until,
    /// Before or after the pieces that these name, to be asked whether it shall wait there.
    pub breaks: Vec<(Pattern, HookPhase)>,
    /// After which pieces else.
    pub catch: Catch,
    /// Pieces whose outputs are kept, for conditions that ask for them.
    pub keep: Vec<String>,
}

/// A line or a module that comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Until {
    /// The next line or module, whichever comes.
    #[default]
    Next,
    /// The next that is not a part of this module.
    OutOf(String),
    /// The next line.
    Line,
    /// None: on to the stage's end.
    End,
}

/// When a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPhase {
    /// Before it runs.
    Before,
    /// Once it ran: what it made is known.
    After,
}

/// What is checked in outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Catch {
    /// Nothing.
    #[default]
    Nothing,
    /// NaN and infinity.
    NotFinite,
    /// Every output is checked.
    All,
}

/// Why a stage waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It reached its stop.
    Arrived,
    /// There is a breakpoint, which may have a condition.
    Breakpoint,
    /// What a piece made is to be looked at.
    Caught,
}

impl ResumeUntil {
    /// On to before the next piece that `until` names, past every breakpoint.
    pub fn until(until: Until) -> Self {
        Self { until, ..Self::default() }
    }

    /// Whether modules are watched, and not lines alone.
    pub(super) fn is_of_modules(&self) -> bool {
        let Self { until, breaks, catch, keep } = self;
        matches!(until, Until::Next | Until::OutOf(_))
            || *catch != Catch::Nothing
            || !breaks.is_empty()
            || !keep.is_empty()
    }

    /// Whether the piece at `path` is where it shall wait at the latest.
    pub(super) fn arrives(&self, path: &str, is_line: bool) -> bool {
        match &self.until {
            Until::Next => is_line || module::is_stepped_into(path),
            Until::OutOf(module) => {
                is_line || module::is_stepped_into(path) && !module::is_within(path, module)
            }
            Until::Line => is_line,
            Until::End => false,
        }
    }

    pub(super) fn breaks(&self, path: &str, moment: HookPhase) -> bool {
        self.breaks.iter().any(|(pattern, when)| *when == moment && pattern.matches(path))
    }
}
