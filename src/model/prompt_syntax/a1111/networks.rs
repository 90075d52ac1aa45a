//! Extra networks: `<lora:NAME:0.8>` (A1111 1.10.1, `modules/extra_networks.py`, `extensions-builtin/Lora/extra_networks_lora.py`).

use super::super::words::{is_word, python_float};
use super::super::{Lora, Side, SyntaxError};
use tr::tr;

/// A prompt without its extra networks.
pub(super) struct Networks {
    /// The rest of the text.
    pub text: String,
    /// The LoRAs that it names.
    pub loras: Vec<Lora>,
    /// LoRAs of a negative prompt.
    pub warnings: Vec<String>,
}

/// Takes `<WORD:…>` out of a prompt.
pub(super) fn parse(text: &str, side: Side) -> Result<Networks, SyntaxError> {
    let mut found = Networks { text: String::with_capacity(text.len()), loras: vec![], warnings: vec![] };
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let after = &rest[start + 1..];
        let Some((kind, arguments, end)) = network(after) else {
            found.text.push_str(&rest[..=start]);
            rest = after;
            continue;
        };
        let whole = &rest[start..start + 1 + end];
        found.text.push_str(&rest[..start]);
        rest = &after[end..];
        let lora = lora(kind, arguments, whole)?;
        match side {
            Side::Prompt => found.loras.push(lora),
            Side::Negative => found.warnings.push(tr!(
                "`{whole}` is left out: A1111 looks for LoRAs in the prompt alone, and would encode this as text",
                whole
            )),
        }
    }
    found.text.push_str(rest);
    Ok(found)
}

/// `lora:NAME:0.8>` → the kind, the arguments, and the length with the closing bracket.
fn network(text: &str) -> Option<(&str, &str, usize)> {
    let kind = text.split(|c| !is_word(c)).next().filter(|kind| !kind.is_empty())?;
    let rest = text[kind.len()..].strip_prefix(':')?;
    let arguments = &rest[..rest.find('>').filter(|end| *end > 0)?];
    Some((kind, arguments, kind.len() + arguments.len() + 2))
}

fn lora(kind: &str, arguments: &str, whole: &str) -> Result<Lora, SyntaxError> {
    let instead = tr!("expected <lora:NAME> or <lora:NAME:SCALE>");
    if !matches!(kind, "lora" | "lyco") {
        let what = tr!("is an extra network of the kind `{kind}`, which diffuscope does not have", kind);
        return Err(SyntaxError::refused(whole, what, instead));
    }
    let mut arguments = arguments.split(':');
    let name = arguments.next().unwrap_or_default().trim().to_string();
    let scale = match arguments.next() {
        None => 1.,
        Some(scale) => python_float(scale)
            .filter(|scale| scale.abs() <= super::super::MOST_WEIGHT)
            .ok_or_else(|| SyntaxError::weight(whole, scale.into()))?,
    };
    if name.is_empty() || arguments.next().is_some() {
        let what = tr!("has no name, or a scale for the UNet alone, which diffuscope does not have");
        return Err(SyntaxError::refused(whole, what, instead));
    }
    Ok(Lora { name, scale })
}
