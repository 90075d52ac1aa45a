//! What a typed line can be completed with, as the screen knows it.

use super::View;
use crate::debugger::language::complete::Names;
use crate::debugger::prompt::word;
use crate::debugger::record::pictures;

impl From<&View> for Names {
    fn from(view: &View) -> Self {
        let mut breakpoints: Vec<usize> = view.stages.iter().filter_map(|line| line.breakpoint).collect();
        breakpoints.sort_unstable();
        breakpoints.dedup();
        let pictures = view.record().map_or(&[][..], |record| pictures::all(record.stage));
        Self {
            tensors: view.tensors(view.cursor).iter().map(|(_, tensor)| tensor.row.name.clone()).collect(),
            pictures: pictures.iter().map(|name| name.to_string()).collect(),
            breakpoints,
            displays: view.displays.iter().map(|display| display.id).collect(),
            timelines: view.timelines.iter().map(|timeline| timeline.name.clone()).collect(),
            words: words_of(view),
            modules: vec![],
        }
    }
}

/// The words of the prompt, each once.
fn words_of(view: &View) -> Vec<String> {
    let prompt = view.records.first().and_then(|record| record.prompts.first());
    let mut known: Vec<String> = vec![];
    for (word, _) in prompt.map_or(vec![], |prompt| word::words(&prompt.tokens)) {
        if !known.contains(&word) {
            known.push(word);
        }
    }
    known
}
