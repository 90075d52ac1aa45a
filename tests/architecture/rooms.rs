//! The order of the rooms, as data.

/// The rooms inside one folder, lowest first.
pub struct Level {
    /// The folder under `src/`; empty for the top rooms.
    pub folder: &'static str,
    /// The rooms. A room is `NAME.rs` or all that lies in `NAME/`, and uses only rooms listed before it.
    pub rooms: &'static [&'static str],
    /// Files, and folders with a `/` at the end, that still lie outside their room, each with the room it belongs to. Delete
    /// an entry when its file moves: the check fails on an entry that matches no file.
    pub misplaced: &'static [(&'static str, &'static str)],
}

/// Every level that the check holds the crate to.
pub const LEVELS: &[Level] = &[
    Level {
        folder: "",
        rooms: &[
            "phrase",
            "tensor",
            "nn",
            "checkpoint",
            "model",
            "scheduler",
            "pipeline",
            "picture",
            "trace",
            "debugger",
            "lesson",
            "tui",
            "cli",
        ],
        misplaced: &[],
    },
    Level {
        folder: "debugger",
        rooms: &[
            "text", "host", "source", "prompt", "expr", "language", "backend", "timeline", "stepping",
            "replay", "record", "inspect", "outcome", "session", "view", "worker",
        ],
        misplaced: &[],
    },
];

/// Where a file belongs on one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Outside the level's folder.
    Outside,
    /// In a room, by its index in the order.
    Room(usize),
    /// The folder's own `mod.rs`, or `lib.rs`. It re-exports from every room, so it ranks above them all.
    Facade,
    /// In the folder, but in no room.
    Unassigned,
}

impl Level {
    /// Where `file` belongs; its path is relative to `src/`.
    pub fn placement(&self, file: &str) -> Placement {
        let Some(inside) = self.inside(file) else { return Placement::Outside };
        if inside == if self.folder.is_empty() { "lib.rs" } else { "mod.rs" } {
            return Placement::Facade;
        }
        let misplaced = self.misplaced.iter().filter(|(prefix, _)| covers(prefix, inside));
        let room = match misplaced.max_by_key(|(prefix, _)| prefix.len()) {
            Some((_, room)) => room,
            None => {
                inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(folder, _)| folder)
            }
        };
        self.rooms.iter().position(|r| *r == room).map_or(Placement::Unassigned, Placement::Room)
    }

    /// The placements of two files, if both lie in this level's folder but not in the same room.
    pub fn crossing(&self, from: &str, to: &str) -> Option<(Placement, Placement)> {
        let (from, to) = (self.placement(from), self.placement(to));
        let both = from != Placement::Outside && to != Placement::Outside;
        (both && from != to).then_some((from, to))
    }

    /// Whether the order forbids `from` to use `to`: its room comes first.
    pub fn forbids(&self, from: &str, to: &str) -> bool {
        match self.crossing(from, to) {
            Some((Placement::Room(from), Placement::Room(to))) => from < to,
            Some((_, Placement::Facade)) => true,
            _ => false,
        }
    }

    /// The entries of `misplaced` that match none of `files`, from `src/` on.
    pub fn stale_entries<'f>(&self, files: impl Iterator<Item = &'f str> + Clone) -> Vec<String> {
        let matches = |prefix: &str| files.clone().filter_map(|f| self.inside(f)).any(|f| covers(prefix, f));
        let settled = self.misplaced.iter().filter(|(prefix, _)| !matches(prefix));
        let folder = if self.folder.is_empty() { String::new() } else { format!("{}/", self.folder) };
        settled.map(|(prefix, _)| format!("{folder}{prefix}")).collect()
    }

    /// The level's folder, for messages.
    pub fn name(&self) -> String {
        format!("src/{}", self.folder)
    }

    /// The file's path within the level's folder.
    fn inside<'f>(&self, file: &'f str) -> Option<&'f str> {
        if self.folder.is_empty() { Some(file) } else { file.strip_prefix(self.folder)?.strip_prefix('/') }
    }
}

fn covers(prefix: &str, file: &str) -> bool {
    if prefix.ends_with('/') { file.starts_with(prefix) } else { file == prefix }
}
