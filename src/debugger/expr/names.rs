//! The names that an expression may use, and the trait that gives them their values.

use crate::pipeline::Setting;
use crate::scheduler::names::NUMBERS;
use cel::common::value::Val;

/// Where the run stands.
const POSITION: [&str; 2] = ["step", "stage"];
/// The run's timesteps, and sigma at each.
const SCHEDULE: [&str; 2] = ["timesteps", "sigmas"];
/// Names that have a value after a step, besides its numbers.
const OF_A_STEP: [&str; 2] = ["timestep", "prev_timestep"];

/// Whether the name is a number of a step: which ones a step has depends on the scheduler.
pub fn is_number_of_a_step(name: &str) -> bool {
    NUMBERS.iter().any(|(known, _)| *known == name)
}

/// Whether the name has a value after a step of `denoise`.
pub fn is_of_a_step(name: &str) -> bool {
    OF_A_STEP.contains(&name) || is_number_of_a_step(name)
}

/// Names that are no tensors: the position, the settings, the timesteps, the numbers of a step.
pub fn plain() -> Vec<&'static str> {
    let settings = Setting::all().filter(Setting::is_in_expressions).map(|setting| setting.entry().name);
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    POSITION.into_iter().chain(settings).chain(SCHEDULE).chain(OF_A_STEP).chain(numbers).collect()
}

/// Whether a name is no tensor's.
pub fn is_plain(name: &str) -> bool {
    let is_setting = || Setting::find(name).is_some_and(|setting| setting.is_in_expressions());
    POSITION.contains(&name) || SCHEDULE.contains(&name) || is_of_a_step(name) || is_setting()
}

/// What gives the names in an expression their values. A session's scope is one; a test may use a table.
pub trait Resolver: Sync {
    /// The value of a name or of a function that depends on the run; `None` where there is no such name.
    fn resolve(&self, name: &str) -> Option<Box<dyn Val>>;

    /// The names of the tensors there are, for messages.
    fn tensors(&self) -> Vec<&'static str>;
}
