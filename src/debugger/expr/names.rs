//! The names that an expression may use, and the trait that gives them their values.

use cel::common::value::Val;

/// Names that are no tensors, by what they are of.
pub const NAMES: [&str; 19] = [
    "step",
    "stage",
    "prompt",
    "negative_prompt",
    "height",
    "width",
    "num_inference_steps",
    "guidance_scale",
    "seed",
    "eta",
    "strength",
    "timesteps",
    "timestep",
    "prev_timestep",
    "alpha_prod_t",
    "alpha_prod_t_prev",
    "beta_prod_t",
    "variance",
    "std_dev_t",
];

/// What gives the names in an expression their values. A session's scope is one; a test may use a table.
pub trait Resolver: Sync {
    /// The value of a name or of a function that depends on the run; `None` where there is no such name.
    fn resolve(&self, name: &str) -> Option<Box<dyn Val>>;

    /// The names of the tensors there are, for messages.
    fn tensors(&self) -> Vec<&'static str>;
}
