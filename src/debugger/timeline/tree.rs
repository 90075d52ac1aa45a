//! The tree of timelines: each but the first branched off another, and shares what was recorded before.

use super::{Change, Timeline};
use crate::debugger::language::arguments::{Nothing, Set};
use crate::debugger::language::command::Command;
use crate::debugger::language::place::Place;
use crate::debugger::timeline;
use crate::pipeline::settings::Value;
use crate::pipeline::{Request, Setting, Snapshot, Stage};
use std::collections::HashSet;
use std::sync::Arc;
use tr::tr;

/// The name of the timeline that a session begins with.
pub const MAIN: &str = "main";
/// What the name of a timeline begins with that was made between a mark and the return to it.
const MINE: &str = "my-";
/// The longest name, in characters.
const LONGEST: usize = 40;
/// The longest wish that a name is made of whole: a number may follow.
pub const LONGEST_WISH: usize = LONGEST - 4;

/// All timelines of a session; one of them is the current one.
#[derive(Debug, Clone)]
pub struct TimelineTree {
    /// Never empty.
    list: Vec<Branch>,
    /// A place in the list.
    current: usize,
    made: usize,
}

/// The number of a timeline: no other has it, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BranchId(usize);

/// A timeline with its place in the tree.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its number.
    pub id: BranchId,
    /// What its reader calls it.
    pub name: String,
    /// What is recorded.
    pub timeline: Timeline,
    /// Where it branched off; `None` for one that began by itself.
    pub origin: Option<Origin>,
}

/// Where a timeline branched off. What it branched off from may become another, or be deleted: how it was then is kept.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The timeline that it came from.
    pub parent: BranchId,
    /// How many stages were done.
    pub done: usize,
    /// The settings there.
    request: Request,
    /// What had been done to tensors by hand.
    edits: Vec<Arc<str>>,
}

impl Origin {
    /// A branching off `parent` at `there`, where `done` stages are done.
    fn at(parent: BranchId, done: usize, there: &Snapshot) -> Self {
        Self { parent, done, request: there.request().clone(), edits: there.edits().to_vec() }
    }
}

/// Why a timeline cannot be called that, or be deleted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TimelineError {
    /// No timeline of that name.
    #[error("{}", tr!(
        "there is no timeline `{name}`; expected {known}",
        name = .name, known = .known
    ))]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The name is another timeline's.
    #[error("{}", tr!("there is a timeline `{0}` already; expected a name of its own", .0))]
    Taken(String),
    /// The name has another meaning, or is no word.
    #[error("{}", tr!("a timeline cannot be called `{name}`: {why}", name = .name, why = .why))]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The last one.
    #[error("{}", tr!("`{0}` is the only timeline; `restart` empties it", .0))]
    Last(String),
}

impl TimelineTree {
    /// The tree of one timeline.
    pub fn new(first: Timeline) -> Self {
        let branch = Branch { id: BranchId(0), name: MAIN.into(), timeline: first, origin: None };
        Self { list: vec![branch], current: 0, made: 1 }
    }

    /// Every timeline, the oldest first.
    pub fn list(&self) -> &[Branch] {
        &self.list
    }

    /// The current timeline.
    pub fn current(&self) -> &Branch {
        &self.list[self.current]
    }

    /// The current timeline, to be changed.
    pub fn current_mut(&mut self) -> &mut Branch {
        &mut self.list[self.current]
    }

    /// A timeline by its number; `None` when it was deleted.
    pub fn get(&self, id: BranchId) -> Option<&Branch> {
        self.list.iter().find(|branch| branch.id == id)
    }

    /// A timeline by its number, to be changed.
    pub fn get_mut(&mut self, id: BranchId) -> Option<&mut Branch> {
        self.list.iter_mut().find(|branch| branch.id == id)
    }

    /// A timeline by its name.
    ///
    /// # Errors
    /// [`TimelineError::Unknown`].
    pub fn named(&self, name: &str) -> Result<&Branch, TimelineError> {
        let known = || match self.names().join(", ") {
            only if self.list.len() == 1 => only,
            several => tr!("one of {several}", several),
        };
        let unknown = || TimelineError::Unknown { name: name.into(), known: known() };
        self.list.iter().find(|branch| branch.name == name).ok_or_else(unknown)
    }

    /// The name of every timeline.
    pub fn names(&self) -> Vec<String> {
        self.list.iter().map(|branch| branch.name.clone()).collect()
    }

    /// Adds a timeline that branched off `parent` where its own cursor is; its number.
    pub fn add(&mut self, name: String, timeline: Timeline, parent: Option<BranchId>) -> BranchId {
        let id = BranchId(self.made);
        self.made += 1;
        let done = timeline.cursor();
        let origin = parent.and_then(|parent| {
            let there = self.get(parent)?.timeline.snapshots().get(done)?;
            Some(Origin::at(parent, done, there))
        });
        self.list.push(Branch { id, name, timeline, origin });
        id
    }

    /// Makes another timeline the current one.
    pub fn switch(&mut self, id: BranchId) {
        self.current = self.list.iter().position(|branch| branch.id == id).unwrap_or(self.current);
    }

    /// Renames a timeline.
    ///
    /// # Errors
    /// [`TimelineError`].
    pub fn rename(&mut self, old: &str, new: &str) -> Result<(), TimelineError> {
        let id = self.named(old)?.id;
        self.check_name(new)?;
        if let Some(branch) = self.get_mut(id) {
            branch.name = new.into();
        }
        Ok(())
    }

    /// Deletes a timeline; what branched off it then branched off its own parent. Its parent, or the oldest, becomes the current
    /// one when it was.
    ///
    /// # Errors
    /// When there is no such timeline, or no other.
    pub fn delete(&mut self, name: &str) -> Result<(), TimelineError> {
        let gone = self.named(name)?.clone();
        if self.list.len() == 1 {
            return Err(TimelineError::Last(gone.name));
        }
        let current = match self.current().id {
            id if id != gone.id => Some(id),
            _ => gone.origin.as_ref().map(|origin| origin.parent),
        };
        self.list.retain(|branch| branch.id != gone.id);
        for branch in &mut self.list {
            let Some(origin) = branch.origin.take_if(|origin| origin.parent == gone.id) else { continue };
            branch.origin = gone.origin.clone().map(|of| match of.done <= origin.done {
                true => of,
                // What the deleted one shared with its own parent.
                false => Origin { parent: of.parent, ..origin },
            });
        }
        self.current = 0;
        if let Some(id) = current {
            self.switch(id);
        }
        Ok(())
    }

    /// Whether a new timeline can be called `name`.
    ///
    /// # Errors
    /// [`TimelineError`].
    pub fn check_name(&self, name: &str) -> Result<(), TimelineError> {
        let wrong = |why| Err(TimelineError::Name { name: name.chars().take(LONGEST).collect(), why });
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"') {
            return wrong("expected one word");
        }
        if name.chars().count() > LONGEST {
            return wrong("expected at most 40 characters");
        }
        if name.starts_with('@') || name == "at" {
            return wrong("that means a place in a run");
        }
        if name.ends_with(".safetensors") {
            return wrong("that means a file");
        }
        match self.named(name) {
            Ok(_) => Err(TimelineError::Taken(name.into())),
            Err(_) => Ok(()),
        }
    }

    /// A name that no timeline has: `wish`, or with a number after it.
    pub fn free_name(&self, wish: &str) -> String {
        let wish: String =
            wish.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '"').collect();
        let wish: String = wish.chars().take(LONGEST_WISH).collect();
        let numbered = (2..).map(|number| format!("{wish}-{number}"));
        let mut names = std::iter::once(wish.clone()).chain(numbered);
        // There are finitely many timelines.
        names.find(|name| self.check_name(name).is_ok()).unwrap_or(wish)
    }

    /// What was done to tensors of a timeline by hand where it branched off.
    pub fn edited(&self, branch: &Branch) -> Vec<Arc<str>> {
        let Some(origin) = &branch.origin else { return vec![] };
        let own = branch.timeline.snapshots().get(origin.done);
        own.map_or(vec![], |own| timeline::edited(&origin.edits, own.edits()))
    }

    /// What is other in a timeline than in the one that it branched off, where it did; nothing for one that began by
    /// itself.
    pub fn changed(&self, branch: &Branch) -> Vec<Change> {
        let Some(origin) = &branch.origin else { return vec![] };
        let own = branch.timeline.snapshots().get(origin.done);
        own.map_or(vec![], |own| timeline::changes(&origin.request, own.request()))
    }

    /// Makes them what they were when `then` was cloned off them, but for what is the reader's: timelines that were made
    /// since stay, and so does what was changed since on one that was there, as `my-NAME`, so that names mean what they
    /// meant. The names of those that are called so only now.
    pub fn come_back(&mut self, then: &Self) -> Vec<String> {
        let now = std::mem::replace(self, Self { made: self.made, ..then.clone() });
        let current = then.current().id;
        let is_theirs = |branch: &Branch| branch.id == current || !branch.name.starts_with(MINE);
        self.list.retain(is_theirs);
        self.switch(current);
        let mut kept = vec![];
        for mut branch in now.list {
            if let Some(known) = self.get(branch.id) {
                let (old, new) = (known.timeline.snapshots(), branch.timeline.snapshots());
                let common = old.iter().zip(new).take_while(|(a, b)| Arc::ptr_eq(a, b)).count();
                if common == new.len() {
                    continue;
                }
                // Of one that was begun anew nothing is left in common.
                let origin = common.checked_sub(1).map(|done| Origin::at(known.id, done, &new[done]));
                branch = Branch { id: BranchId(self.made), origin, ..branch };
                self.made += 1;
            }
            if is_theirs(&branch) {
                branch.name = self.free_name(&format!("{MINE}{}", branch.name));
                kept.push(branch.name.clone());
            }
            self.list.push(branch);
        }
        kept
    }

    /// Every timeline below the one that it branched off, with how deep it is.
    pub fn tree(&self) -> Vec<(usize, &Branch)> {
        let roots = self
            .list
            .iter()
            .filter(|branch| branch.origin.as_ref().is_none_or(|o| self.get(o.parent).is_none()));
        let mut tree = vec![];
        for root in roots {
            self.below(root, 0, &mut tree);
        }
        tree
    }

    fn below<'a>(&'a self, branch: &'a Branch, depth: usize, tree: &mut Vec<(usize, &'a Branch)>) {
        tree.push((depth, branch));
        let is_child =
            |child: &&Branch| child.origin.as_ref().is_some_and(|origin| origin.parent == branch.id);
        let mut children: Vec<&Branch> = self.list.iter().filter(is_child).collect();
        children.sort_by_key(|child| child.origin.as_ref().map(|origin| origin.done));
        for child in children {
            self.below(child, depth + 1, tree);
        }
    }

    /// Bytes of all tensors that are recorded, those that several timelines share once.
    pub fn bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let snapshots = self.list.iter().flat_map(|branch| branch.timeline.snapshots());
        let mut bytes = 0;
        for record in snapshots.flat_map(|snapshot| snapshot.records()) {
            if seen.insert(Arc::as_ptr(record)) {
                let of = |tensor: &candle_core::Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
                bytes += record.tensors.iter().map(|(_, tensor)| of(tensor)).sum::<usize>();
            }
        }
        bytes
    }
}

impl Branch {
    /// The timeline as lines of the command language: carried out from the start, they make it again.
    ///
    /// # Errors
    /// The setting that no line can hold.
    pub fn commands(&self) -> Result<Vec<String>, Setting> {
        let start = self.timeline.snapshots().first().map(|snapshot| snapshot.request());
        let Some(start) = start else { return Ok(vec![]) };
        let mut lines = vec![];
        for setting in Setting::of(start) {
            // A run begins without a fault.
            match setting.get(start) {
                Value::Fault(None) => {}
                value => lines.push(set(setting, &value)?),
            }
        }
        for (done, changes, edits) in self.timeline.changes() {
            // What was changed when all had run changed nothing that ran.
            let steps = self.timeline.snapshots()[done].request().steps();
            let Some(stage) = Stage::at(done, &steps) else { break };
            lines.push(goto(stage));
            for Change { setting, to, .. } in changes {
                lines.push(set(setting, &to)?);
            }
            // An edit is kept as it was typed after `set`.
            lines.extend(edits.iter().map(|edit| format!("set {edit}")));
        }
        match self.timeline.tip().position() {
            None => lines.push(Command::Continue(Nothing).to_string()),
            Some(stage) => lines.push(goto(stage)),
        }
        Ok(lines)
    }

    /// Where its cursor stands, in words.
    pub fn place(&self) -> String {
        let here: &Snapshot = self.timeline.here();
        here.position().map_or("complete".into(), |stage| format!("before {stage}"))
    }
}

/// The command that moves to before a stage.
fn goto(stage: Stage) -> String {
    Command::Goto(Place::Stage(stage)).to_string()
}

/// The command that gives a setting a value, or the setting where no line can hold that.
fn set(setting: Setting, value: &Value) -> Result<String, Setting> {
    let command = match value {
        Value::Fault(fault) => Set::Fault(*fault),
        value => {
            let value = value.to_string();
            if value.chars().any(char::is_control) {
                return Err(setting);
            }
            Set::Setting { setting, value }
        }
    };
    Ok(Command::Set(command).to_string())
}

#[cfg(test)]
mod tests;
