//! Lessons: Markdown files that the debugger carries out.
//!
//! - [`mod@format`]: a file → what it says and asks, block by block. [`block`]: what stands in a fenced block.
//! - [`problem`]: what is wrong with a file, with the place in it.
//! - [`playing`]: a lesson on a session, part by part.
//! - [`reading`]: the same with a reader, as a state machine. [`progress`]: how far the reader is, in a file.
//! - [`check`]: whether a lesson is still true, and says the same in every language.
//! - [`library`]: the lessons that the program carries, and those of a folder.

pub mod block;
pub mod check;
pub mod format;
pub mod library;
pub mod playing;
pub mod problem;
pub mod progress;
pub mod reading;

pub use format::{Lesson, Part};
pub use library::Library;
pub use playing::LessonRunner;
pub use problem::Problem;
pub use progress::{LessonProgress, Progress};
pub use reading::Reading;
