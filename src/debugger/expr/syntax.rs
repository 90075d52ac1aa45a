//! The errors of the expression parser, in words that need no knowledge of its grammar.

/// The first complaint of a parser's message, in a line: what is wrong, where, and what would be right.
///
/// The parser writes `ERROR: <input>:LINE:COLUMN: Syntax error: WHAT` and what it read below, for each complaint. One that
/// is not known here is shown as it is.
pub fn told(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default().trim();
    let Some((column, what)) = located(first) else { return first.into() };
    // `WHAT 'found' …`
    let found = |before: &str| what.split(before).nth(1)?.strip_prefix('\'')?.split('\'').next();
    let at_end = "<EOF>";
    if let Some(missing) = found("missing ") {
        return match what.ends_with("'<EOF>'") {
            true => format!("a `{missing}` is missing at its end"),
            false => format!("a `{missing}` is missing at character {column}"),
        };
    }
    let unread = what.strip_prefix("token recognition error at: '").and_then(|rest| rest.strip_suffix('\''));
    if let Some(unread) = unread.map(str::trim) {
        let hint = match unread.chars().next() {
            Some('=') => "; whether two are equal is `==`",
            Some('"' | '\'') => "; a text ends with the quote that it began with",
            Some('&') => "; both is `&&`",
            Some('|') => "; either is `||`",
            Some('@') => "; `@12` is for `diff`",
            _ => "",
        };
        return format!("`{unread}` at character {column} means nothing here{hint}");
    }
    let unexpected = ["extraneous input ", "mismatched input ", "no viable alternative at input "]
        .into_iter()
        .find_map(found);
    match unexpected {
        Some(unexpected) if unexpected == at_end => {
            "it ends too early; expected a name, a number or `(` after it".into()
        }
        Some(unexpected) if what.ends_with("expecting <EOF>") => {
            format!(
                "`{unexpected}` at character {column} does not go on with it; expected an operator before it, such as + or =="
            )
        }
        Some(unexpected) => {
            format!(
                "`{unexpected}` at character {column} does not belong there; expected a name, a number or `(`"
            )
        }
        None => what.into(),
    }
}

/// The column and what is wrong there.
fn located(complaint: &str) -> Option<(usize, &str)> {
    let rest = complaint.strip_prefix("ERROR: <input>:")?;
    let (_, rest) = rest.split_once(':')?;
    let (column, what) = rest.split_once(": ")?;
    Some((column.parse().ok()?, what.strip_prefix("Syntax error: ").unwrap_or(what)))
}

#[cfg(test)]
mod tests {
    use crate::debugger::expr::Expression;

    #[test]
    fn what_is_wrong_is_told_in_plain_words() {
        for (text, expected) in [
            ("latents.std > ", "it ends too early; expected a name, a number or `(` after it"),
            ("1 +* 2", "`*` at character 4 does not belong there; expected a name, a number or `(`"),
            ("norm(latents", "a `)` is missing at its end"),
            ("latents.std 1", "`1` at character 13 does not go on with it; expected an operator before it"),
            ("step = 2", "`=` at character 6 means nothing here; whether two are equal is `==`"),
            ("\"abc", "`\"abc` at character 1 means nothing here; a text ends with the quote"),
            ("'abc", "`'abc` at character 1 means nothing here; a text ends with the quote"),
            ("@12", "`@` at character 1 means nothing here; `@12` is for `diff`"),
            ("latents..std", "`..` at character 9 does not belong there"),
        ] {
            let said = Expression::compile(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
            assert!(!said.contains("<input>") && !said.contains("IDENTIFIER"), "{said}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_as_it_is() {
        assert_eq!(super::told("something else\nbelow"), "something else");
        assert_eq!(super::told("ERROR: <input>:1:3: quite new"), "quite new");
        assert_eq!(super::told(""), "");
    }
}
