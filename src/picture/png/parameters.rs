//! The chunk `parameters`: a run's settings in the format of AUTOMATIC1111's web interface, which many tools read.
//!
//! The prompt, a line `Negative prompt: …` if there is one, and a line of settings, `Steps: 20, Seed: 7, …`. Readers match the
//! pairs of that line with a pattern, in Python `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`: a value ends at the next
//! comma, or is a JSON string. So a value with a comma, a colon or a quote is written as a JSON string.

use super::found::{Found, FoundError, Reading, Source};
use super::keys;
use super::record::RunRecord;
use tr::tr;

/// The chunk's keyword.
pub const KEYWORD: &str = "parameters";

const NEGATIVE: &str = "Negative prompt:";
/// A last line with fewer pairs belongs to the prompt.
const LEAST_PAIRS: usize = 3;

/// The text of a run.
pub fn written(record: &RunRecord) -> String {
    let request = record.settings();
    let mut text = format!("{}\n", request.prompt);
    if !request.negative_prompt.is_empty() {
        text.push_str(&format!("{NEGATIVE} {}\n", request.negative_prompt));
    }
    let pairs: Vec<String> =
        keys::written(record).into_iter().map(|(key, value)| format!("{key}: {}", quoted(&value))).collect();
    text + &pairs.join(", ")
}

/// The settings in a text, some of which may be given otherwise.
///
/// # Errors
/// When a value is none that its setting can have.
pub fn found(text: &str, given: &dyn Fn(&str) -> bool) -> Result<Found, FoundError> {
    let Parameters { prompt, negative_prompt, settings } = read(text);
    let is_own = settings.iter().any(|(key, value)| key == "Version" && value.starts_with("diffuscope "));
    let source = if is_own { Source::OwnParameters } else { Source::A1111 };
    let mut reading = Reading::new(source, given);
    reading.take("prompt", "prompt", &prompt)?;
    reading.take("negative_prompt", "Negative prompt", &negative_prompt)?;
    keys::read(&mut reading, &settings)?;
    reading.finish()
}

/// The value, as a JSON string if a reader would not read it back unchanged.
fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty()
        && value.trim() == value
        && !value.contains([',', ':', '"'])
        && !value.chars().any(char::is_control);
    if is_plain { value.into() } else { serde_json::Value::from(value).to_string() }
}

/// The contents of such a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The prompt.
    pub prompt: String,
    /// The negative prompt.
    pub negative_prompt: String,
    /// The settings, in order.
    pub settings: Vec<(String, String)>,
}

/// Reads a text as the web interface does.
pub fn read(text: &str) -> Parameters {
    let mut lines: Vec<&str> = text.trim().split('\n').collect();
    let settings = lines.pop().map(pairs).unwrap_or_default();
    let settings = if settings.len() < LEAST_PAIRS {
        lines = text.trim().split('\n').collect();
        vec![]
    } else {
        settings
    };
    let (mut prompts, mut place) = ([vec![], vec![]], 0);
    for line in lines {
        let line = line.trim();
        let negative = line.strip_prefix(NEGATIVE).map(str::trim);
        if negative.is_some() {
            place = 1;
        }
        prompts[place].push(negative.unwrap_or(line));
    }
    let [prompt, negative_prompt] = prompts.map(|lines| lines.join("\n"));
    Parameters { prompt, negative_prompt, settings }
}

/// The pairs of a line of settings.
fn pairs(line: &str) -> Vec<(String, String)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_of_key = |c: char| is_word(c) || matches!(c, ' ' | '-' | '/');
    let (mut pairs, mut rest) = (vec![], line);
    while let Some(start) = rest.find(is_word) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_key(c)).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix(':').filter(|_| key.chars().nth(1).is_some()) else {
            rest = after;
            continue;
        };
        let value = value.trim_start();
        let string = string(value).filter(|(_, after)| after.is_empty() || after.starts_with(','));
        let (value, after) = match string {
            Some((json, after)) => (serde_json::from_str(json).unwrap_or_else(|_| json.to_string()), after),
            None => {
                let (value, after) = value.split_at(value.find(',').unwrap_or(value.len()));
                (value.to_string(), after)
            }
        };
        pairs.push((key.into(), value));
        rest = after;
    }
    pairs
}

/// The JSON string that a text begins with, quotes included, and what follows.
fn string(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let inner = text.strip_prefix('"')?;
    let end = inner.find(|c| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        c => c == '"',
    })?;
    Some(text.split_at(end + 2))
}

/// A warning if readers of the text would not get the prompts back exactly: they take a line for settings, or trim it.
pub fn misread(record: &RunRecord, text: &str) -> Option<String> {
    let request = record.settings();
    let prompts = [("prompt", &request.prompt), ("negative_prompt", &request.negative_prompt)];
    let lines =
        || prompts.into_iter().flat_map(|(name, text)| text.split('\n').map(move |line| (name, line.trim())));
    // Tools differ in which lines they take for settings, so any similar line gives a warning.
    let looks_like_settings = |line: &str| pairs(line).len() >= LEAST_PAIRS;
    let read = read(text);
    let read = [&read.prompt, &read.negative_prompt];
    let has_same_words =
        prompts.iter().zip(read).all(|((_, a), b)| a.split_whitespace().eq(b.split_whitespace()));
    let line = lines()
        .find(|(_, line)| looks_like_settings(line) || (!has_same_words && line.starts_with(NEGATIVE)))
        .map(|(name, line)| tr!("the line `{}` of the {name}", beginning(line), name))
        .or_else(|| (!has_same_words).then(|| "a prompt".into()));
    let exact = tr!("the chunk `{}` has it exactly", super::record::KEYWORD);
    if let Some(line) = line {
        return Some(tr!(
            "{line} looks like settings, and tools that read the chunk `parameters` may take it for settings; {exact}",
            line,
            exact
        ));
    }
    let trimmed = prompts.iter().zip(read).filter(|((_, a), b)| a != b).map(|((name, _), _)| *name);
    let trimmed: Vec<&str> = trimmed.collect();
    (!trimmed.is_empty()).then(|| {
        tr!(
            "the chunk `parameters` loses whitespace at line ends of the {}: tools that read it trim every line; {exact}",
            trimmed.join(" and the "), exact
        )
    })
}

/// A line, or the beginning of a long one.
fn beginning(line: &str) -> String {
    const MOST: usize = 60;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Fault, InitImage, Request};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn request(prompt: &str) -> Request {
        Request {
            prompt: prompt.into(),
            negative_prompt: "blurry".into(),
            height: 64,
            width: 128,
            num_inference_steps: 20,
            seed: 7.into(),
            ..Request::default()
        }
    }

    fn text(request: &Request, edits: &[&str], model: &str) -> String {
        let edits: Vec<Arc<str>> = edits.iter().map(|edit| Arc::from(*edit)).collect();
        written(&RunRecord::new(request, &edits, model, None))
    }

    #[test]
    fn parameters_are_in_the_format_of_other_tools() {
        let mut request = request("red apple");
        let written = text(&request, &[], "pocket");
        let (settings, version) = written.split_once(", Version: ").unwrap();
        assert_eq!(
            settings,
            "red apple\nNegative prompt: blurry\nSteps: 20, Sampler: DDIM, CFG scale: 7.5, Seed: 7, Size: 128x64, Model: pocket"
        );
        assert!(version.starts_with("diffuscope "));
        request.init_image = Some(InitImage::open("sample:apple").unwrap());
        let written = text(&request, &[], "pocket");
        assert!(
            written.contains(", Denoising strength: 0.8, Init image: \"sample:apple\", Version"),
            "{written}"
        );
    }

    #[test]
    fn skipped_layers_are_counted_as_the_web_interface_counts() {
        for (clip_skip, expected) in [(0, None), (1, Some("2")), (2, Some("3"))] {
            let written = text(&Request { clip_skip, ..request("red apple") }, &[], "pocket");
            let read = read(&written);
            let found = read.settings.iter().find(|(key, _)| key == "Clip skip");
            assert_eq!(found.map(|(_, value)| value.as_str()), expected, "{written}");
        }
    }

    #[test]
    fn faults_and_edits_are_included() {
        let request = Request { fault: Fault::parse("nan_in latents").ok(), ..request("red apple") };
        let written = text(&request, &["latents[0,1] *= 2", "prompt_embeds = 0"], "pocket");
        let expected = ", Fault: nan_in latents, Edits: \"latents[0,1] *= 2; prompt_embeds = 0\", Version";
        assert!(written.contains(expected), "{written}");
    }

    /// The results of Python's `re.findall` with the pattern in this file's first comment.
    #[test]
    fn pairs_are_those_of_the_pattern() {
        let found = |line: &str| {
            pairs(line).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("|")
        };
        for (line, expected) in [
            ("Steps: 20, CFG scale: 7.5,Model hash: a", "Steps=20|CFG scale=7.5|Model hash=a"),
            ("a: 1, bb: 2", "bb=2"),
            (", -x y: 1, : 2, 3/4-5: 6", "x y=1|3/4-5=6"),
            ("Model: \"a, b: 1\", Seed: 3", "Model=a, b: 1|Seed=3"),
            ("Model: \"a\" b, c: 1", "Model=\"a\" b"),
            ("Model: \"a, bb: 1", "Model=\"a|bb=1"),
            ("Model: \"a\\\"\\\\\", bb:1", "Model=a\"\\|bb=1"),
            ("一つ: 二, é_1 : x", "一つ=二|é_1 =x"),
            ("Empty:, bb: ", "Empty=|bb="),
        ] {
            assert_eq!(found(line), expected, "{line}");
        }
    }

    fn lines() -> impl Strategy<Value = String> {
        "((Negative prompt:|Steps: 20, |Seed: 7, |Size: 8x8,|[a-c]|é|り|\\PC|[,:\"\\\\{}<>()/-]|[ \t\r]){0,8}\n?){0,4}"
    }

    proptest! {
        #[test]
        fn it_reads_back_exactly_or_gives_a_warning(
            prompt in lines(),
            negative_prompt in lines(),
            model in "([a-c]|é|,|: |\"|\\\\|/|Seed: 1|\\PC){1,12}",
            edits in proptest::collection::vec("[a-z,:\" ]{1,12}", 0..3),
            seed in any::<i64>(),
            scale in any::<f64>().prop_filter("finite", |x| x.is_finite()),
        ) {
            let request = Request { guidance_scale: scale, seed: seed.into(), negative_prompt, ..request(&prompt) };
            let edits: Vec<Arc<str>> = edits.into_iter().map(Into::into).collect();
            let record = RunRecord::new(&request, &edits, &model, None);
            let text = written(&record);
            let read = read(&text);
            let expected: Vec<(String, String)> =
                keys::written(&record).into_iter().map(|(key, value)| (key.to_string(), value)).collect();
            prop_assert_eq!(&read.settings, &expected, "{}", text);
            let is_same = read.prompt == request.prompt && read.negative_prompt == request.negative_prompt;
            prop_assert!(is_same || misread(&record, &text).is_some(), "{:?}: {}", read, text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}(Steps: [0-9],|\"|\\\\|:|,|\n| |é){0,12}") {
            let _ = read(&text);
        }
    }

    #[test]
    fn plain_prompts_give_no_warning() {
        for prompt in ["", "a cat", "a cat: red, Seed: 7", "two\nlines, (a:1.2), <x>", "in  side\n\nend"] {
            for negative in ["", "Negative prompt: twice", "blur: 1"] {
                let request = Request { negative_prompt: negative.into(), ..request(prompt) };
                let record = RunRecord::new(&request, &[], "pocket", None);
                assert_eq!(misread(&record, &written(&record)), None, "{prompt}, {negative}");
            }
        }
    }

    #[test]
    fn lost_whitespace_gives_a_warning() {
        let misread_of = |prompt: &str, negative: &str| {
            let request = Request { negative_prompt: negative.into(), ..request(prompt) };
            let record = RunRecord::new(&request, &[], "pocket", None);
            misread(&record, &written(&record))
        };
        for prompt in [" lead", "trail ", "a  \n b", "a\r\nb", "\na"] {
            let warning = misread_of(prompt, "blurry").unwrap_or_else(|| panic!("no warning for {prompt:?}"));
            assert!(warning.contains("loses whitespace at line ends of the prompt:"), "{warning}");
            assert!(!warning.contains('\n'), "{warning}");
        }
        let warning = misread_of("a", "   ").unwrap();
        assert!(warning.contains("line ends of the negative_prompt:"), "{warning}");
        let warning = misread_of(" a", "Negative prompt: twice ").unwrap();
        assert!(warning.contains("line ends of the prompt and the negative_prompt:"), "{warning}");
    }
}
