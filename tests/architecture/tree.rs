//! The crate as a tree of modules: the names in each, and what a path leads to.

use std::collections::HashMap;

/// A module, as an index into [`Tree::modules`].
pub type Id = usize;

/// The module of `lib.rs`.
pub const ROOT: Id = 0;

/// A module, or a block or macro call that has names of its own.
#[derive(Debug)]
pub struct Module {
    /// The module around it.
    pub parent: Option<Id>,
    /// Where `self::` starts: the module itself, or the one around a block.
    pub named: Id,
    /// Its path within its file: empty for the file's own module, `tests` for an inline one.
    pub inline: Vec<String>,
    /// Its file, relative to `src/`.
    pub file: String,
    /// The folder in which its child modules have their files.
    pub folder: String,
    names: HashMap<String, Vec<Binding>>,
    globs: Vec<Vec<String>>,
}

/// What a name in a module stands for.
#[derive(Debug, Clone)]
pub enum Binding {
    /// A child module.
    Module(Id),
    /// An item that this module defines.
    Item(Id),
    /// A `use` of this path.
    Import(Vec<String>),
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A module.
    Module(Id),
    /// An item, by the module that defines it. An enum's variant or a type's method is the enum or the type.
    Item(Id, String),
}

/// One definition that a path leads to.
#[derive(Debug, Clone)]
pub struct Found {
    /// The definition.
    pub target: Target,
    /// The modules that re-export it on the way, each with the name it has there.
    pub via: Vec<(Id, String)>,
}

/// Every module of the crate.
#[derive(Debug, Default)]
pub struct Tree {
    /// The modules; the first is [`ROOT`].
    pub modules: Vec<Module>,
}

/// Names whose lookup is in progress, so that a cycle of imports ends.
type Pending = Vec<(Id, String)>;

impl Tree {
    /// Adds a module that `file` holds.
    pub fn add(&mut self, parent: Option<Id>, file: String, folder: String, inline: Vec<String>) -> Id {
        let named = self.modules.len();
        self.push(Module { parent, named, inline, file, folder, names: HashMap::new(), globs: Vec::new() })
    }

    /// Adds a block that has names of its own.
    pub fn add_block(&mut self, parent: Id) -> Id {
        let around = &self.modules[parent];
        let (named, inline) = (around.named, around.inline.clone());
        let (file, folder) = (around.file.clone(), around.folder.clone());
        self.push(Module {
            parent: Some(parent),
            named,
            inline,
            file,
            folder,
            names: HashMap::new(),
            globs: Vec::new(),
        })
    }

    fn push(&mut self, module: Module) -> Id {
        self.modules.push(module);
        self.modules.len() - 1
    }

    /// Gives a name to something in a module. A name may stand for several things: a module, a type and a function.
    pub fn bind(&mut self, module: Id, name: String, binding: Binding) {
        self.modules[module].names.entry(name).or_default().push(binding);
    }

    /// Brings all names of the module at `path` into a module.
    pub fn bind_glob(&mut self, module: Id, path: Vec<String>) {
        self.modules[module].globs.push(path);
    }

    /// Whether `outer` is `inner` or lies around it.
    pub fn encloses(&self, outer: Id, inner: Id) -> bool {
        let mut at = Some(inner);
        while let Some(id) = at {
            if id == outer {
                return true;
            }
            at = self.modules[id].parent;
        }
        false
    }

    /// What a path leads to, as written in `scope`; empty if it leads out of the crate.
    pub fn resolve(&self, scope: Id, path: &[String]) -> Vec<Found> {
        self.walk(scope, path, &mut Pending::new())
    }

    fn walk(&self, scope: Id, path: &[String], pending: &mut Pending) -> Vec<Found> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let named = self.modules[scope].named;
        let mut found = match first.as_str() {
            "crate" => at(ROOT),
            "self" => at(named),
            "super" => self.above(named).map_or_else(Vec::new, at),
            name => self.in_scope(scope, name, pending),
        };
        for segment in rest {
            // A module wins over an item of the same name, because it leads on. A type's members belong to the type.
            if found.iter().any(|f| matches!(f.target, Target::Module(_))) {
                found.retain(|f| matches!(f.target, Target::Module(_)));
            }
            found = found.into_iter().flat_map(|f| self.step(f, segment, pending)).collect();
        }
        found
    }

    fn step(&self, from: Found, segment: &str, pending: &mut Pending) -> Vec<Found> {
        let Target::Module(module) = from.target else { return vec![from] };
        match segment {
            "self" => vec![from],
            "super" => self.above(module).map_or_else(Vec::new, at),
            name => {
                let mut found = self.lookup(module, name, pending);
                if found.is_empty() {
                    // A macro defines it, or it comes from another crate. Either way it belongs to this module.
                    found.push(Found { target: Target::Item(module, name.to_owned()), via: Vec::new() });
                }
                for f in &mut found {
                    f.via.extend(from.via.iter().cloned());
                }
                found
            }
        }
    }

    /// The named module above one.
    fn above(&self, module: Id) -> Option<Id> {
        self.modules[module].parent.map(|parent| self.modules[parent].named)
    }

    /// A path's first name: from the blocks around it, then from its module.
    fn in_scope(&self, scope: Id, name: &str, pending: &mut Pending) -> Vec<Found> {
        let mut at = scope;
        loop {
            let found = self.lookup(at, name, pending);
            let module = &self.modules[at];
            match module.parent {
                Some(parent) if found.is_empty() && module.named != at => at = parent,
                _ => return found,
            }
        }
    }

    fn lookup(&self, module: Id, name: &str, pending: &mut Pending) -> Vec<Found> {
        let key = (module, name.to_owned());
        if pending.contains(&key) {
            return Vec::new();
        }
        pending.push(key.clone());
        let here = &self.modules[module];
        let mut found = Vec::new();
        for binding in here.names.get(name).into_iter().flatten() {
            match binding {
                Binding::Module(id) => found.extend(at(*id)),
                Binding::Item(owner) => {
                    found.push(Found { target: Target::Item(*owner, name.to_owned()), via: Vec::new() });
                }
                Binding::Import(path) => {
                    found.extend(self.walk(module, path, pending).into_iter().map(|f| f.passing(&key)));
                }
            }
        }
        if !here.names.contains_key(name) {
            for glob in &here.globs {
                for base in self.walk(module, glob, pending) {
                    let Target::Module(id) = base.target else { continue };
                    found.extend(self.lookup(id, name, pending).into_iter().map(|f| f.passing(&key)));
                }
            }
        }
        pending.pop();
        found
    }
}

impl Found {
    fn passing(mut self, module: &(Id, String)) -> Self {
        self.via.push(module.clone());
        self
    }
}

fn at(module: Id) -> Vec<Found> {
    vec![Found { target: Target::Module(module), via: Vec::new() }]
}
