//! Reads the sources: builds the tree of modules and collects every path that could lead to another file.
//!
//! Paths come from `use` items, from code (types, expressions, patterns, attributes) and from the tokens of macros.
//! Documentation links and `pub(in …)` are not uses. The type behind a method call is not written in the source, so the check
//! does not see it.

use crate::tree::{Binding, Id, ROOT, Tree};
use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Item, ItemMod, ItemUse, Path, Stmt, UseTree, VisRestricted};

/// Every file under `src/`: its path from there, and its text.
pub type Sources = BTreeMap<String, String>;

/// A path that is written somewhere.
#[derive(Debug)]
pub struct Use {
    /// Where: the module, block or macro call.
    pub scope: Id,
    /// The line in the scope's file.
    pub line: usize,
    /// The path, without generic arguments.
    pub path: Vec<String>,
    /// How it is written.
    pub kind: Kind,
}

/// How a path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In a `use`.
    Import,
    /// In a `use`, with `::*` at the end.
    Glob,
    /// In the code.
    Inline,
}

/// What the sources contain.
#[derive(Debug, Default)]
pub struct Reading {
    /// The modules.
    pub tree: Tree,
    /// The paths.
    pub uses: Vec<Use>,
    /// Code that cannot be read, each with its file and line.
    pub faults: Vec<String>,
}

/// Reads the library, starting at `lib.rs`. `main.rs` is another crate, which uses this one by name.
pub fn read(sources: &Sources) -> Reading {
    let mut reader =
        Reader { sources, read: BTreeSet::new(), scope: ROOT, line: None, out: Reading::default() };
    let root = reader.out.tree.add(None, "lib.rs".to_owned(), String::new(), Vec::new());
    reader.file(root);
    for file in sources.keys().filter(|f| *f != "main.rs" && !reader.read.contains(*f)) {
        reader.out.faults.push(format!("{file}: no module declares this file"));
    }
    reader.out
}

struct Reader<'s> {
    sources: &'s Sources,
    read: BTreeSet<String>,
    scope: Id,
    /// The line to note for tokens that come from a string.
    line: Option<usize>,
    out: Reading,
}

impl Reader<'_> {
    fn file(&mut self, module: Id) {
        let file = self.out.tree.modules[module].file.clone();
        let Some(text) = self.sources.get(&file) else {
            self.out.faults.push(format!("{file}: a module is declared, but there is no such file"));
            return;
        };
        self.read.insert(file.clone());
        match syn::parse_file(text) {
            Ok(parsed) => self.within(module, |reader| reader.visit_file(&parsed)),
            Err(error) => self.out.faults.push(format!("{file}:{}: {error}", error.span().start().line)),
        }
    }

    fn within(&mut self, scope: Id, read: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.scope, scope);
        read(self);
        self.scope = before;
    }

    fn note(&mut self, path: Vec<String>, kind: Kind, span: Span) {
        let line = self.line.unwrap_or_else(|| span.start().line);
        self.out.uses.push(Use { scope: self.scope, line, path, kind });
    }

    fn fault(&mut self, span: Span, what: &str) {
        let file = &self.out.tree.modules[self.scope].file;
        self.out.faults.push(format!("{file}:{}: {what}", span.start().line));
    }

    /// Notes the leaves of a `use`. With `binds`, they also bring names into scope.
    fn use_tree(&mut self, tree: &UseTree, prefix: &[String], binds: bool) {
        let joined = |name: &syn::Ident| {
            let own = (name != "self" || prefix.is_empty()).then(|| name.unraw().to_string());
            prefix.iter().cloned().chain(own).collect::<Vec<_>>()
        };
        let (path, name, span) = match tree {
            UseTree::Path(node) => return self.use_tree(&node.tree, &joined(&node.ident), binds),
            UseTree::Group(node) => return node.items.iter().for_each(|t| self.use_tree(t, prefix, binds)),
            UseTree::Glob(node) => {
                if binds {
                    self.out.tree.bind_glob(self.scope, prefix.to_vec());
                }
                return self.note(prefix.to_vec(), Kind::Glob, node.star_token.span);
            }
            UseTree::Name(node) => (joined(&node.ident), None, node.ident.span()),
            UseTree::Rename(node) => {
                (joined(&node.ident), Some(node.rename.unraw().to_string()), node.ident.span())
            }
        };
        let name = name.or_else(|| path.last().cloned()).filter(|name| binds && name != "_");
        if let Some(name) = name {
            self.out.tree.bind(self.scope, name, Binding::Import(path.clone()));
        }
        self.note(path, Kind::Import, span);
    }

    /// A macro takes any tokens, so a path is recognized by its form: names joined by `::`.
    fn tokens(&mut self, stream: &TokenStream) {
        let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
        let mut i = 0;
        while i < tokens.len() {
            i = match &tokens[i] {
                TokenTree::Group(group) => {
                    self.tokens(&group.stream());
                    i + 1
                }
                TokenTree::Ident(ident) if ident == "use" => self.use_in_tokens(&tokens, i).unwrap_or(i + 1),
                TokenTree::Ident(_) => self.path_in_tokens(&tokens, i),
                _ => i + 1,
            };
        }
    }

    /// Reads a `use` item at `start`, and returns the index after it.
    fn use_in_tokens(&mut self, tokens: &[TokenTree], start: usize) -> Option<usize> {
        let end = start + tokens[start..].iter().position(|t| is_punct(Some(t), ';'))?;
        let item: ItemUse = syn::parse2(tokens[start..=end].iter().cloned().collect()).ok()?;
        self.visit_item_use(&item);
        Some(end + 1)
    }

    /// Reads a path at `start`, and returns the index after it.
    fn path_in_tokens(&mut self, tokens: &[TokenTree], start: usize) -> usize {
        let before = |n: usize| start.checked_sub(n).and_then(|i| tokens.get(i));
        let mut path = Vec::new();
        let mut i = start;
        while let Some(TokenTree::Ident(ident)) = tokens.get(i) {
            path.push(ident.unraw().to_string());
            i += 1;
            if !is_colons(tokens, i) {
                break;
            }
            match tokens.get(i + 2) {
                Some(TokenTree::Ident(_)) => i += 2,
                Some(end) if is_punct(Some(end), '*') || is_braces(end) => {
                    let tree: syn::Result<UseTree> =
                        syn::parse2(tokens[start..=i + 2].iter().cloned().collect());
                    if let Ok(tree) = tree {
                        self.use_tree(&tree, &[], false);
                        return i + 3;
                    }
                    break;
                }
                _ => break,
            }
        }
        // `$crate::x` is a path of this crate. `$name::x` comes from the caller; `::x` and `<T>::x` start elsewhere.
        let is_metavariable = is_punct(before(1), '$') && path[0] != "crate";
        let goes_on = is_punct(before(1), ':') && is_punct(before(2), ':');
        if path.len() > 1 && path[0] != "Self" && !is_metavariable && !goes_on {
            self.note(path, Kind::Inline, tokens[start].span());
        }
        i
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let name = match item {
            Item::Const(node) => Some(&node.ident),
            Item::Enum(node) => Some(&node.ident),
            Item::Fn(node) => Some(&node.sig.ident),
            Item::Macro(node) => node.ident.as_ref(),
            Item::Static(node) => Some(&node.ident),
            Item::Struct(node) => Some(&node.ident),
            Item::Trait(node) => Some(&node.ident),
            Item::Type(node) => Some(&node.ident),
            Item::Union(node) => Some(&node.ident),
            _ => None,
        };
        if let Some(name) = name.map(|name| name.unraw().to_string()) {
            // An exported macro is named at the crate's root, wherever it is defined.
            if let Item::Macro(node) = item
                && node.attrs.iter().any(|a| a.path().is_ident("macro_export"))
                && self.scope != ROOT
            {
                self.out.tree.bind(ROOT, name.clone(), Binding::Item(self.scope));
            }
            self.out.tree.bind(self.scope, name, Binding::Item(self.scope));
        }
        if let Item::ExternCrate(node) = item
            && node.ident == "self"
        {
            self.fault(node.extern_token.span, "the crate has one name here, `crate`");
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, node: &'ast ItemMod) {
        for attribute in &node.attrs {
            self.visit_attribute(attribute);
            if attribute.path().is_ident("macro_use") {
                self.fault(
                    attribute.pound_token.span,
                    "#[macro_use] brings macros without a path; `use` them by name",
                );
            }
        }
        let name = node.ident.unraw().to_string();
        let around = &self.out.tree.modules[self.scope];
        let folder = joined(&around.folder, &name);
        let id = if let Some((_, items)) = &node.content {
            let (file, mut inline) = (around.file.clone(), around.inline.clone());
            inline.push(name.clone());
            let id = self.out.tree.add(Some(self.scope), file, folder, inline);
            self.within(id, |reader| items.iter().for_each(|item| reader.visit_item(item)));
            id
        } else {
            let beside = format!("{folder}.rs");
            let (file, folder) = match node.attrs.iter().find_map(path_attribute) {
                Some(path) => {
                    let from = if around.inline.is_empty() { parent(&around.file) } else { &around.folder };
                    let file = joined(from, &path);
                    let folder = parent(&file).to_owned();
                    (file, folder)
                }
                None if self.sources.contains_key(&beside) => (beside, folder),
                None => (joined(&folder, "mod.rs"), folder),
            };
            let id = self.out.tree.add(Some(self.scope), file, folder, Vec::new());
            self.file(id);
            id
        };
        self.out.tree.bind(self.scope, name, Binding::Module(id));
    }

    fn visit_item_use(&mut self, node: &'ast ItemUse) {
        if node.leading_colon.is_none() {
            self.use_tree(&node.tree, &[], true);
        }
    }

    fn visit_block(&mut self, node: &'ast Block) {
        if node.stmts.iter().any(|s| matches!(s, Stmt::Item(_))) {
            let block = self.out.tree.add_block(self.scope);
            self.within(block, |reader| visit::visit_block(reader, node));
        } else {
            visit::visit_block(self, node);
        }
    }

    fn visit_path(&mut self, node: &'ast Path) {
        let path: Vec<String> = node.segments.iter().map(|s| s.ident.unraw().to_string()).collect();
        // A single name is defined in this module or comes from a `use`, which is noted already.
        if path.len() > 1 && node.leading_colon.is_none() && path[0] != "Self" {
            self.note(path, Kind::Inline, node.segments[0].ident.span());
        }
        visit::visit_path(self, node);
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        if node.path.is_ident("include") {
            let line = node.bang_token.span.start().line;
            let file = &self.out.tree.modules[self.scope].file;
            self.out
                .faults
                .push(format!("{file}:{line}: include! hides code from this check; declare a module"));
        }
        visit::visit_macro(self, node);
    }

    fn visit_token_stream(&mut self, stream: &'ast TokenStream) {
        let block = self.out.tree.add_block(self.scope);
        self.within(block, |reader| reader.tokens(stream));
    }

    fn visit_attribute(&mut self, node: &'ast Attribute) {
        visit::visit_attribute(self, node);
        // serde names functions in strings: `#[serde(with = "crate::a::b")]`.
        if let Ok(list) = node.meta.require_list()
            && list.path.is_ident("serde")
        {
            let line = self.line.replace(node.pound_token.span.start().line);
            for token in list.tokens.clone() {
                if let TokenTree::Literal(literal) = token
                    && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                    && let Ok(stream) = text.value().parse::<TokenStream>()
                {
                    self.tokens(&stream);
                }
            }
            self.line = line;
        }
    }

    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let named = attribute.meta.require_name_value().ok().filter(|m| m.path.is_ident("path"))?;
    match &named.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) => Some(path.value()),
        _ => None,
    }
}

fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c)
}

fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let first = matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint);
    first && is_punct(tokens.get(at + 1), ':')
}

fn parent(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path below a folder, with `.` and `..` resolved.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
