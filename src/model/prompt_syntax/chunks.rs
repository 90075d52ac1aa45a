//! Pieces → ids and weights, 77 a chunk: start, up to 75 tokens, end, padding. Each program splits long prompts by its own rule.

use super::{Piece, PromptSyntax, Side, SyntaxError};
use crate::model::ClipTokenizer;
use crate::model::tokenizer::MODEL_MAX_LENGTH;
use std::ops::Range;
use tr::tr;

/// Tokens of a chunk without start and end.
const ROOM: usize = MODEL_MAX_LENGTH - 2;
/// The most chunks of a prompt.
pub const MOST_CHUNKS: usize = 64;
/// The most chunks that compel encodes again.
const MOST_MASKED: usize = 256;
/// A1111's `comma_padding_backtrack`.
const COMMA_BACKTRACK: usize = 20;
/// ComfyUI's `max_word_length`: a piece with fewer tokens is not split.
const LARGE: usize = 8;

/// A tokenized prompt: 77 ids a chunk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tokenized {
    /// The ids of all chunks.
    pub input_ids: Vec<u32>,
    /// 1 for each id before the padding, 0 for the padding.
    pub attention_mask: Vec<u32>,
    /// The weight of each id.
    pub weights: Vec<f32>,
    /// Of compel, the places of the pieces with a weight below 1, and their weights.
    pub reduced: Vec<(Range<usize>, f64)>,
    /// The text that did not fit, of `plain`.
    pub cut: Option<String>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

impl Tokenized {
    /// The number of chunks.
    pub fn chunks(&self) -> usize {
        self.input_ids.len() / MODEL_MAX_LENGTH
    }

    /// Whether a token has another weight than 1.
    pub fn is_weighted(&self) -> bool {
        self.weights.iter().any(|weight| *weight != 1.)
    }

    /// Appends a chunk with at most [`ROOM`] tokens.
    fn push(&mut self, tokens: &[(u32, f32)], [bos, eos, pad]: [u32; 3]) {
        let room = MODEL_MAX_LENGTH - tokens.len() - 1;
        let padding = std::iter::once((eos, 1.)).chain(std::iter::repeat((pad, 1.))).take(room);
        let (ids, weights): (Vec<u32>, Vec<f32>) =
            std::iter::once((bos, 1.)).chain(tokens.iter().copied()).chain(padding).unzip();
        self.attention_mask.extend((0..MODEL_MAX_LENGTH).map(|at| u32::from(at < tokens.len() + 2)));
        self.input_ids.extend(ids);
        self.weights.extend(weights);
    }

    /// The first `chunks` chunks, over and over.
    fn repeated(mut self, chunks: usize) -> Self {
        let times = chunks / self.chunks().max(1);
        self.input_ids = self.input_ids.repeat(times);
        self.attention_mask = self.attention_mask.repeat(times);
        self.weights = self.weights.repeat(times);
        self
    }
}

/// The tokens of a piece that stay together.
struct Group {
    tokens: Vec<(u32, f32)>,
    /// Whether it ends a chunk.
    is_break: bool,
}

/// A prompt in the chunks of its syntax.
pub(super) fn tokenized(
    syntax: PromptSyntax,
    text: &str,
    side: Side,
    tokenizer: &ClipTokenizer,
) -> Result<Tokenized, SyntaxError> {
    let refused = |e: crate::nn::Error| SyntaxError::Tokens(e.to_string());
    if syntax == PromptSyntax::Plain {
        let encoded = tokenizer.encode(text).map_err(refused)?;
        let (input_ids, attention_mask) = (encoded.input_ids, encoded.attention_mask);
        let weights = vec![1.; input_ids.len()];
        let (cut, warnings) = (encoded.cut, encoded.warnings);
        return Ok(Tokenized { input_ids, attention_mask, weights, cut, warnings, ..Tokenized::default() });
    }
    let parsed = syntax.parse(text, side)?;
    let mut made = Tokenized { warnings: parsed.warnings, ..Tokenized::default() };
    let mut groups = vec![];
    for piece in &parsed.pieces {
        let (text, weight) = match piece {
            Piece::Break => {
                groups.push(Group { tokens: vec![], is_break: true });
                continue;
            }
            Piece::Embedding(name, weight)
                if !tokenizer.id(name).is_some_and(|id| tokenizer.is_added(id)) =>
            {
                made.warnings.push(tr!(
                    "there is no embedding `{name}`, so embedding:{name} is left out, as in ComfyUI: --embedding FILE:{name} adds it",
                    name
                ));
                continue;
            }
            Piece::Embedding(text, weight) | Piece::Text(text, weight) => (text, *weight as f32),
        };
        let (ids, warnings) = tokenizer.tokens_of(text).map_err(refused)?;
        made.warnings.extend(warnings);
        let tokens = ids.into_iter().map(|id| (id, weight)).collect();
        groups.push(Group { tokens, is_break: false });
    }
    match syntax {
        PromptSyntax::A1111 => a1111(&groups, tokenizer, &mut made),
        PromptSyntax::Comfy => comfy(&groups, tokenizer, &mut made),
        PromptSyntax::Plain | PromptSyntax::Compel => compel(&groups, tokenizer, &mut made)?,
    }
    if made.chunks() > MOST_CHUNKS {
        return Err(SyntaxError::Chunks { found: made.chunks(), why: String::new(), most: MOST_CHUNKS });
    }
    Ok(made)
}

/// A1111 (1.10.1, `modules/sd_hijack_clip.py`, `tokenize_line`): a chunk that is full ends after its last comma, if that is one of its
/// last 20 tokens. The vectors of a concept stay in one chunk.
fn a1111(groups: &[Group], tokenizer: &ClipTokenizer, made: &mut Tokenized) {
    let special = tokenizer.special_ids();
    let comma = tokenizer.id(",</w>");
    let mut chunk: Vec<(u32, f32)> = vec![];
    let mut last_comma: Option<usize> = None;
    for group in groups {
        if group.is_break {
            made.push(&std::mem::take(&mut chunk), special);
            last_comma = None;
            continue;
        }
        let mut at = 0;
        while at < group.tokens.len() {
            let token = group.tokens[at];
            if Some(token.0) == comma {
                last_comma = Some(chunk.len());
            } else if let Some(place) = last_comma
                && chunk.len() == ROOM
                && chunk.len() - place <= COMMA_BACKTRACK
            {
                let moved = chunk.split_off(place + 1);
                made.push(&std::mem::replace(&mut chunk, moved), special);
                last_comma = None;
            }
            if chunk.len() == ROOM {
                made.push(&std::mem::take(&mut chunk), special);
                last_comma = None;
            }
            let vectors = vectors(&group.tokens[at..], tokenizer);
            if vectors > 1 && vectors <= ROOM && chunk.len() + vectors > ROOM {
                made.push(&std::mem::take(&mut chunk), special);
                last_comma = None;
            }
            let vectors = if vectors <= ROOM { vectors } else { 1 };
            chunk.extend(&group.tokens[at..at + vectors]);
            at += vectors;
        }
    }
    if !chunk.is_empty() || made.input_ids.is_empty() {
        made.push(&chunk, special);
    }
    end_at_eos(made, special);
}

/// The number of vectors of the concept that begins the tokens; 1 for any other token.
fn vectors(tokens: &[(u32, f32)], tokenizer: &ClipTokenizer) -> usize {
    let goes_on = |(place, pair): &(usize, &[(u32, f32)])| {
        tokenizer.next_vector(pair[0].0, pair[1].0).is_some_and(|vector| vector == place + 1)
    };
    1 + tokens.windows(2).enumerate().take_while(goes_on).count()
}

/// Where padding is another token than the end, A1111 pads after the first end, although it be one of the prompt's own.
fn end_at_eos(made: &mut Tokenized, [_, eos, pad]: [u32; 3]) {
    for chunk in made.input_ids.chunks_mut(MODEL_MAX_LENGTH).filter(|_| eos != pad) {
        if let Some(end) = chunk.iter().position(|id| *id == eos) {
            chunk[end + 1..].fill(pad);
        }
    }
}

/// ComfyUI (`comfy/sd1_clip.py`, `tokenize_with_weights`): a piece of fewer than 8 tokens that does not fit begins the next chunk; a
/// longer one is split where the chunk ends.
fn comfy(groups: &[Group], tokenizer: &ClipTokenizer, made: &mut Tokenized) {
    let special = tokenizer.special_ids();
    let mut chunk: Vec<(u32, f32)> = vec![];
    for group in groups {
        let (mut tokens, is_large) = (&group.tokens[..], group.tokens.len() >= LARGE);
        while chunk.len() + tokens.len() > ROOM {
            if is_large {
                let (fits, rest) = tokens.split_at(ROOM - chunk.len());
                chunk.extend(fits);
                tokens = rest;
            }
            made.push(&std::mem::take(&mut chunk), special);
        }
        chunk.extend(tokens);
    }
    made.push(&chunk, special);
}

/// compel (2.5.1, `embeddings_provider.py`, `_chunk_and_pad_token_ids`): a prompt that is too long is split after the last full stop
/// among 75 tokens, else after the last comma, colon or semicolon, else after the last word.
fn compel(groups: &[Group], tokenizer: &ClipTokenizer, made: &mut Tokenized) -> Result<(), SyntaxError> {
    let special = tokenizer.special_ids();
    let all: Vec<(u32, f32)> = groups.iter().flat_map(|group| group.tokens.iter().copied()).collect();
    let mut places = Vec::with_capacity(all.len());
    let mut left = &all[..];
    loop {
        let (chunk, rest) = left.split_at(split_point(left, tokenizer));
        let start = made.input_ids.len() + 1;
        places.extend(start..start + chunk.len());
        made.push(chunk, special);
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    let (mut from, mut masked) = (0, 0);
    for group in groups {
        let to = from + group.tokens.len();
        if let Some(&(_, weight)) = group.tokens.first().filter(|(_, weight)| *weight < 1.) {
            let span = places[from]..places[to - 1] + 1;
            masked += (span.end - 1) / MODEL_MAX_LENGTH - span.start / MODEL_MAX_LENGTH + 1;
            made.reduced.push((span, f64::from(weight)));
        }
        from = to;
    }
    match masked {
        masked if masked > MOST_MASKED => Err(SyntaxError::Masks { found: masked, most: MOST_MASKED }),
        _ => Ok(()),
    }
}

/// The number of tokens of compel's next chunk.
fn split_point(tokens: &[(u32, f32)], tokenizer: &ClipTokenizer) -> usize {
    if tokens.len() <= ROOM {
        return tokens.len();
    }
    let spelled: Vec<String> =
        tokens[..ROOM].iter().map(|(id, _)| tokenizer.token(*id).unwrap_or_default()).collect();
    let after_last =
        |ends: &dyn Fn(&str) -> bool| spelled.iter().rposition(|token| ends(token)).map(|at| at + 1);
    let sentence = after_last(&|token| token == ".</w>");
    let phrase = || after_last(&|token| matches!(token, ".</w>" | ",</w>" | ";</w>" | ":</w>"));
    let word = || after_last(&|token| token.ends_with("</w>"));
    sentence.or_else(phrase).or_else(word).unwrap_or(ROOM)
}

/// The negative prompt and the prompt with the same number of chunks. A1111 and ComfyUI repeat both up to a common multiple: attention
/// to rows that are repeated equally often is attention to the rows. compel appends empty prompts to the shorter one.
pub(super) fn evened(
    syntax: PromptSyntax,
    [mut negative, mut prompt]: [Tokenized; 2],
    tokenizer: &ClipTokenizer,
) -> Result<[Tokenized; 2], SyntaxError> {
    let (a, b) = (negative.chunks(), prompt.chunks());
    if a == b {
        return Ok([negative, prompt]);
    }
    if syntax == PromptSyntax::Compel {
        for shorter in [&mut negative, &mut prompt] {
            while shorter.chunks() < a.max(b) {
                shorter.push(&[], tokenizer.special_ids());
            }
        }
        return Ok([negative, prompt]);
    }
    let common = a / greatest_common_divisor(a, b) * b;
    if common > MOST_CHUNKS {
        let why = tr!(", the common multiple of the prompt's {b} and the negative prompt's {a}", b, a);
        return Err(SyntaxError::Chunks { found: common, why, most: MOST_CHUNKS });
    }
    Ok([negative.repeated(common), prompt.repeated(common)])
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
