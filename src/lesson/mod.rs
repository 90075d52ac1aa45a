//! Lessons: Markdown files that the debugger runs.
//!
//! - [`mod@format`]: parses a file into parts. [`block`]: the contents of fenced blocks.
//! - [`problem`]: an error in a file, with its position.
//! - [`playing`]: runs a lesson on a session, without a reader.
//! - [`reading`]: a lesson with a reader, as a state machine. [`progress`]: the reader's progress, in a file.
//! - [`check`]: checks that lessons hold and that their languages agree.
//! - [`library`]: the bundled lessons, and those of a folder.

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
