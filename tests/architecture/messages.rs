//! Messages are collected for translation: each stands in `tr!`, whose first argument is the English text and the key of a translation.
//!
//! A catalogue replaces the text and keeps its placeholders, so these must match the values that follow. `format!`, `write!` and
//! `#[error]` keep texts that no one translates: paths, commands, keys of files, numbers.

use super::reader::Sources;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;
use std::sync::LazyLock;
use syn::visit::{self, Visit};
use syn::{Attribute, Lit, Macro};

/// A message: where it stands, its text, and the names of its values, which are empty for positional ones.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    place: String,
    text: String,
    values: Vec<String>,
}

/// The texts of a file: messages, and texts for people that are not marked as messages.
#[derive(Default)]
struct Texts<'a> {
    file: &'a str,
    messages: Vec<Message>,
    unmarked: Vec<Unmarked>,
}

/// A text for people without `tr!`: its file and line, and the text.
type Unmarked = (String, usize, String);

/// Texts that no one translates: the file, the beginning of the text, and what it is.
const UNTRANSLATED: &[(&str, &str, &str)] = &[
    ("checkpoint/layout.rs", "{stem}.safetensors.index{infix}.json", "the name of a file"),
    ("checkpoint/layout.rs", "{stem}.safetensors{infix}.index.json", "the name of a file"),
    ("cli/model/cached.rs", ": `diffuscope model verify", "a command"),
    ("debugger/language/arguments/changes.rs", "preview every", "a command"),
    ("debugger/session/forks.rs", "# {}: diffuscope debug", "a comment in a file of commands"),
    ("debugger/session/interventions.rs", "patch {path} from", "a command"),
    ("debugger/source/mod.rs", "pub fn", "Rust"),
    ("nn/cpu/", "", "shapes that do not fit: a fault of the program, for its developers"),
    ("pipeline/fault.rs", "nan_in", "a command"),
    ("pipeline/memory.rs", "--width", "flags"),
    ("tensor/random.rs", "Generator(", "for `Debug`"),
];

/// Macros that put a text together.
const FORMATS: [&str; 9] =
    ["format", "write", "writeln", "println", "eprintln", "print", "eprint", "bail", "anyhow"];

/// Whether a text is a sentence or a part of one: two words or more.
fn is_prose(text: &str) -> bool {
    static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{[^}]*\}").unwrap());
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[A-Za-z][a-z']+").unwrap());
    static IN_A_SENTENCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[a-z,;:] ").unwrap());
    let bare = PLACEHOLDER.replace_all(text, " # ");
    WORD.find_iter(&bare).count() >= 2 && IN_A_SENTENCE.is_match(&bare)
}

/// The first string literal among the arguments of a macro, and what follows it, split at commas.
fn arguments(tokens: TokenStream) -> Option<(String, usize, Vec<Vec<TokenTree>>)> {
    let mut arguments = vec![vec![]];
    for token in tokens {
        match &token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => arguments.push(vec![]),
            _ => arguments.last_mut()?.push(token),
        }
    }
    let at = arguments.iter().position(|argument| text(argument).is_some())?;
    let (text, line) = text(&arguments[at])?;
    let values = arguments.split_off(at + 1).into_iter().filter(|value| !value.is_empty());
    Some((text, line, values.collect()))
}

/// The text of an argument that is a string literal, and its line.
fn text(argument: &[TokenTree]) -> Option<(String, usize)> {
    let [TokenTree::Literal(literal)] = argument else { return None };
    match Lit::new(literal.clone()) {
        Lit::Str(text) => Some((text.value(), literal.span().start().line)),
        _ => None,
    }
}

/// The name of a value: `name` and `name = …` have one.
fn name(value: &[TokenTree]) -> String {
    match value {
        [TokenTree::Ident(name)] => name.to_string(),
        [TokenTree::Ident(name), TokenTree::Punct(sign), next, ..]
            if sign.as_char() == '=' && !matches!(next, TokenTree::Punct(p) if p.as_char() == '=') =>
        {
            name.to_string()
        }
        _ => String::new(),
    }
}

impl Texts<'_> {
    fn see(&mut self, name: &str, tokens: TokenStream) {
        if name == "tr" {
            if let Some((text, line, values)) = arguments(tokens.clone()) {
                let values = values.iter().map(|value| self::name(value)).collect();
                self.messages.push(Message { place: format!("{}:{line}", self.file), text, values });
            }
        } else if FORMATS.contains(&name) {
            self.see_unmarked(tokens.clone());
        }
        self.see_nested(tokens);
    }

    fn see_unmarked(&mut self, tokens: TokenStream) {
        if let Some((text, line, _)) = arguments(tokens).filter(|(text, ..)| is_prose(text)) {
            self.unmarked.push((self.file.to_string(), line, text));
        }
    }

    /// Macros in the arguments of macros, which are no syntax to `syn`.
    fn see_nested(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else { continue };
            match tokens[..index] {
                [.., TokenTree::Ident(ref name), TokenTree::Punct(ref sign)]
                    if sign.as_char() == '!' && group.delimiter() == Delimiter::Parenthesis =>
                {
                    self.see(&name.to_string(), group.stream());
                }
                _ => self.see_nested(group.stream()),
            }
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Texts<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("error")
            && let syn::Meta::List(list) = &attribute.meta
        {
            self.see_unmarked(list.tokens.clone());
            self.see_nested(list.tokens.clone());
        }
    }

    fn visit_macro(&mut self, found: &'ast Macro) {
        let name = found.path.segments.last().map_or(String::new(), |segment| segment.ident.to_string());
        self.see(&name, found.tokens.clone());
    }
}

fn texts<'a>(file: &'a str, source: &str) -> Texts<'a> {
    let mut texts = Texts { file, ..Texts::default() };
    texts.visit_file(&syn::parse_file(source).unwrap());
    texts
}

/// What is wrong with a message: placeholders and values that do not match.
fn complaint(message: &Message) -> Option<String> {
    let Message { place, text, values } = message;
    let bare = text.replace("{{", "").replace("}}", "");
    let placeholders: Vec<&str> =
        bare.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or_default()).collect();
    let positional = values.iter().filter(|value| value.is_empty()).count();
    let unnumbered = placeholders.iter().filter(|name| name.is_empty()).count();
    for placeholder in &placeholders {
        let known = match placeholder.parse::<usize>() {
            Ok(index) => index < values.len(),
            Err(_) => placeholder.is_empty() || values.iter().any(|value| value == placeholder),
        };
        if !known {
            return Some(format!("{place}: no value for `{{{placeholder}}}` in {text:?}"));
        }
    }
    let unused = values.iter().find(|value| !value.is_empty() && !placeholders.contains(&value.as_str()));
    // `{}` takes the values in order, and the first of them may have names for others.
    match (unnumbered > values.len(), unused) {
        (true, _) => Some(format!("{place}: {unnumbered} `{{}}` and {positional} values in {text:?}")),
        (_, Some(value)) if unnumbered == 0 => Some(format!("{place}: `{value}` is not in {text:?}")),
        _ => None,
    }
}

fn production(sources: &Sources) -> impl Iterator<Item = (&String, &String)> {
    sources
        .iter()
        .filter(|(file, _)| !file.contains("tests") && !file.starts_with("debugger/language/command"))
}

#[test]
fn placeholders_of_messages_match_their_values() {
    let sources = super::sources();
    let all: Vec<Message> =
        production(&sources).flat_map(|(file, source)| texts(file, source).messages).collect();
    assert!(all.len() > 200, "only {} messages found", all.len());
    let complaints: Vec<String> = all.iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Texts for people stand in `tr!`, except for those of [`UNTRANSLATED`], each of which exists.
#[test]
fn every_message_is_marked() {
    let sources = super::sources();
    let unmarked: Vec<Unmarked> =
        production(&sources).flat_map(|(file, source)| texts(file, source).unmarked).collect();
    let excepts = |(place, beginning, _): &(&str, &str, &str), (file, _, text): &Unmarked| {
        file.starts_with(place) && text.starts_with(beginning)
    };
    let forgotten = unmarked.iter().filter(|text| !UNTRANSLATED.iter().any(|known| excepts(known, text)));
    let forgotten: Vec<String> =
        forgotten.map(|(file, line, text)| format!("{file}:{line}: {text:?} is not in tr!")).collect();
    assert!(forgotten.is_empty(), "{}", forgotten.join("\n"));
    for known in UNTRANSLATED {
        assert!(
            unmarked.iter().any(|text| excepts(known, text)),
            "{known:?} is gone: take the exception out"
        );
    }
}

#[test]
fn messages_and_unmarked_texts_are_found() {
    let source = r#"
        #[derive(Error)]
        enum E {
            #[error("{}", tr!("no file {0} here", .0))]
            A(String),
            #[error("it is not right")]
            B,
        }
        fn f() {
            let a = tr!("a {x} of {}", y, x = 1);
            let b = format!("not marked at all {a}");
            let c = format!("{a}/{b}.json");
            assert!(true, "in vain {}", tr!("nested in it"));
        }
        #[cfg(test)]
        mod tests { fn g() { format!("of no importance here"); } }
    "#;
    let found = texts("a.rs", source);
    let messages: Vec<&str> = found.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(messages, ["no file {0} here", "a {x} of {}", "nested in it"]);
    assert_eq!(found.messages[1].values, ["y", "x"]);
    let unmarked: Vec<(usize, &str)> =
        found.unmarked.iter().map(|(_, line, text)| (*line, text.as_str())).collect();
    assert_eq!(unmarked, [(6, "it is not right"), (11, "not marked at all {a}")]);
}

#[test]
fn a_placeholder_without_a_value_is_found() {
    let message = |text: &str, values: &[&str]| Message {
        place: "a.rs:1".into(),
        text: text.into(),
        values: values.iter().map(|value| value.to_string()).collect(),
    };
    for (text, values) in [("{}", &[""][..]), ("{a} {}", &["", "a"]), ("{0} {0}", &[""]), ("{{x}}", &[])] {
        assert_eq!(complaint(&message(text, values)), None, "{text}");
    }
    for (text, values) in
        [("{0}", &[][..]), ("{a}", &["b"]), ("{} {}", &[""]), ("{a:.2}", &["a"]), ("x", &["a"])]
    {
        assert!(complaint(&message(text, values)).is_some(), "{text}");
    }
}
