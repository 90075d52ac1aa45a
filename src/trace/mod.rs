//! A run recorded on disk, by this program or any other, and two runs compared.
//!
//! `docs/trace.md` specifies the format, `docs/diff.md` the comparison.
//!
//! - [`manifest`]: `trace.json`. [`reader`]: an open trace. [`writer`]: a trace that is being written.
//! - [`on_disk`]: a tensor that is read in pieces.
//! - [`names`]: paths of another program's modules.
//! - [`recording`]: the probe that records modules.
//! - [`run`]: a trace as a run with snapshots. [`schedule`]: its timesteps, where no scheduler has them. [`playback`]: a recorded stage, played into a probe.
//! - [`contradictions`]: what a trace says of itself that its tensors contradict.
//! - [`reduced`]: the output of a recorded call in a size that fits the memory.
//! - [`diff`]: where two runs first differ.
//! - [`error`]: why a trace cannot be read or written.

pub mod contradictions;
pub mod diff;
pub mod error;
pub mod manifest;
pub mod names;
pub mod on_disk;
pub mod playback;
pub mod reader;
pub mod recording;
pub mod reduced;
pub mod run;
pub mod schedule;
pub mod writer;

pub use error::TraceError;
pub use names::Names;
pub use reader::{RecordedCall, Trace, TraceStage};
pub use recording::{Recorded, Recording, Steps, What};
pub use run::RecordedRun;
pub use writer::TraceWriter;
