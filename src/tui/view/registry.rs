//! The views, in one table.
//!
//! An entry gives a view its names, its key and its type. The table drives the tabs, the keys, the names of actions in
//! `config.toml`, the help, and the views that a lesson can show.

use super::pane::View;
use super::{
    attention, charts, compare, difference, lesson, model, overview, prompt, residuals, scheduler, source,
    tensors, timelines,
};
use crate::debugger::Outcome;
use crate::phrase::{Phrase, phrase};
use crossterm::event::KeyCode;

/// An entry of the table.
#[derive(Debug)]
pub struct Entry {
    /// The view.
    pub id: ViewId,
    /// Its name, as it is typed.
    pub name: &'static str,
    /// Its name, as it is shown.
    pub title: Phrase,
    /// The beginning of the name, for narrow screens.
    pub short: Phrase,
    /// The name in three or four letters, so that all of them fit eighty columns.
    pub shortest: Phrase,
    /// The key that shows it.
    pub key: char,
    /// The same key, as a binding.
    pub keys: &'static [KeyCode],
    /// Name and contents, for the help.
    pub summary: Phrase,
    /// The first lines of its help: what the view answers, and the words on it.
    pub about: [Phrase; 5],
    create: fn() -> Box<dyn View>,
}

macro_rules! views {
    ($($id:ident($module:ident) {
        name: phrase($name:literal), short: phrase($short:literal), shortest: phrase($shortest:literal), key: $key:literal,
        summary: phrase($summary:literal),
        about: [$(phrase($about:literal)),* $(,)?],
    })*) => {
        /// A view.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ViewId {
            $(#[doc = concat!("The view ", $summary, ".")] $id,)*
        }

        /// Every view, in the order of the tabs. The first is shown at the start.
        pub const VIEWS: &[Entry] = &[$(Entry {
            id: ViewId::$id,
            name: $name,
            title: phrase($name),
            short: phrase($short),
            shortest: phrase($shortest),
            key: $key,
            keys: &[KeyCode::Char($key)],
            summary: phrase($summary),
            about: [$(phrase($about)),*],
            create: || Box::<$module::$id>::default(),
        },)*];
    };
}

views! {
    Overview(overview) {
        name: phrase("overview"), short: phrase("over"), shortest: phrase("over"), key: '1',
        summary: phrase("overview: the stage at a glance"),
        about: [
            phrase("What did the last finished stage make? Pictures above, numbers below; the stages on the left, ▶ runs next."),
            phrase("latents: what the run works on, 4 channels at an eighth of the picture's size. They begin as noise."),
            phrase("pred_original_sample (x̂₀): the latents without noise, as the UNet predicts them now. The picture to expect."),
            phrase("uncond_residual, text_cond_residual: the UNet's output without the prompt and with it, a square a channel: blue below 0, red above; ±N is the end of the scale."),
            phrase("Try: n runs a stage, ← → show earlier ones, v draws the latents in another way."),
        ],
    }
    Tensors(tensors) {
        name: phrase("tensors"), short: phrase("tens"), shortest: phrase("tens"), key: '2',
        summary: phrase("tensors: every recorded tensor, and the selected one"),
        about: [
            phrase("What is in each tensor? The list on the left, the selected tensor's numbers and histogram on the right."),
            phrase("mean, std, min, max, nan, inf are over all values; norm is the length of the tensor as a vector."),
            phrase("(1, 4, 16, 16) is the shape: batch, channels, height, width. In latents a pixel is 8 × 8 pixels of the picture."),
            phrase("The newest tensor of each name is shown, and what it changed from."),
            phrase("Try: ↑ ↓ select, / filters by name, `:print latents.std` computes with a tensor."),
        ],
    }
    Residuals(residuals) {
        name: phrase("residuals"), short: phrase("resid"), shortest: phrase("res"), key: '3',
        summary: phrase("residuals: both residuals and their guided sum"),
        about: [
            phrase("What did the prompt change in this step? The UNet runs without the prompt (uncond) and with it (text)."),
            phrase("guided = uncond + guidance_scale × (text − uncond): classifier-free guidance. The scheduler uses guided."),
            phrase("A residual is what the UNet was trained to predict: the noise (epsilon), the sample, or v. v-prediction: v = √ᾱ·noise − √(1−ᾱ)·x₀."),
            phrase("x̂₀ (pred_original_sample): the picture that each residual alone would lead to."),
            phrase("Scales: ±N under a picture is the end of its colours. v draws all four on one scale."),
        ],
    }
    Scheduler(scheduler) {
        name: phrase("scheduler"), short: phrase("sched"), shortest: phrase("sch"), key: '4',
        summary: phrase("scheduler: the step in formulas"),
        about: [
            phrase("How does the step get from the latents to the next ones? The scheduler's formulas with this step's numbers."),
            phrase("t: the timestep, large at the start. ᾱ (alpha_prod_t): the share of the picture in the latents, 0 to 1; the rest is noise."),
            phrase("sigma: the noise in the latents in proportion to the picture; σ = √((1−ᾱ)/ᾱ)."),
            phrase("pred_original_sample is x̂₀; pred_sample_direction points back to the noise that is left."),
            phrase("Try: ← → compare steps, `:set scheduler euler` starts a timeline with another scheduler."),
        ],
    }
    Prompt(prompt) {
        name: phrase("prompt"), short: phrase("prompt"), shortest: phrase("prom"), key: '5',
        summary: phrase("prompt: tokens and embeddings"),
        about: [
            phrase("What does the UNet read? The prompt as tokens, each with its id and its embedding as a strip of colours."),
            phrase("Tokens are pieces of words. 77 places: a start, the prompt, an end, and padding; what does not fit is cut off."),
            phrase("embedding: the text encoder's vector for a token, in the context of the tokens before it. norm: its length."),
            phrase("cosines: 1 where two embeddings point in the same direction, 0 where they have nothing in common."),
            phrase("Try: ↑ ↓ select a token, `:set prompt TEXT` changes the prompt from here on."),
        ],
    }
    Charts(charts) {
        name: phrase("charts"), short: phrase("charts"), shortest: phrase("char"), key: '6',
        summary: phrase("charts: measures over the steps"),
        about: [
            phrase("How does the run develop? Measures of every recorded step, over the steps."),
            phrase("std: the spread of the latents' values. norm: a tensor's length; residuals and their difference are shown."),
            phrase("relative change: how far a step moved the latents, in proportion to their length (L2)."),
            phrase("cosine: whether uncond and text point in the same direction; 1 means that the prompt changes nothing but the length."),
            phrase("Try: ← → move the marked step, n and c run more steps."),
        ],
    }
    Source(source) {
        name: phrase("source"), short: phrase("source"), shortest: phrase("src"), key: '7',
        summary: phrase("source: the code of the stage"),
        about: [
            phrase("Which code runs? The source of the stage or module, as in diffusers, with the values that its lines made."),
            phrase("▶ is the next line. A stage has lines, a line may be a module, and a module has modules inside."),
            phrase("A path such as unet.mid_block.attentions.0 is the module's name in diffusers."),
            phrase("Values beside a line appear when it has run: shape, mean, std."),
            phrase("Try: s steps into a line or module, n steps over it, f runs out of it, `:break unet.mid_block` stops there."),
        ],
    }
    Timelines(timelines) {
        name: phrase("timelines"), short: phrase("times"), shortest: phrase("time"), key: '8',
        summary: phrase("timelines: the tree of timelines"),
        about: [
            phrase("What else could have happened? Each row is a timeline: a run with its own settings from some stage on."),
            phrase("A setting that changes at an earlier stage starts a new timeline; the stages before it are shared."),
            phrase("main is the first timeline. The columns are the stages; a fork is where two timelines part."),
            phrase("relative L2: the distance of two tensors in proportion to the length of the first."),
            phrase("Try: Enter goes to a timeline, `:diff main` compares with it."),
        ],
    }
    Compare(compare) {
        name: phrase("compare"), short: phrase("comp"), shortest: phrase("comp"), key: '9',
        summary: phrase("compare: variants side by side"),
        about: [
            phrase("What does a setting change? Variants run in lockstep, side by side, each with the same seed."),
            phrase("The first variant is the base. The others are shown as pictures, or as their difference from the base."),
            phrase("relative difference: the distance from the base in proportion to the base's length (L2); 0 is equal."),
            phrase("The chart shows one measure over the steps; the legend has its value at the shown step."),
            phrase("Try: `:compare guidance_scale 1,7.5,15`, then c."),
        ],
    }
    Model(model) {
        name: phrase("model"), short: phrase("model"), shortest: phrase("mod"), key: '0',
        summary: phrase("model: every module and its output"),
        about: [
            phrase("What is inside the models? Every module as a tree, and the selected module's output for this stage."),
            phrase("Paths are those of diffusers: unet.down_blocks.0.attentions.1. The UNet goes down, through the middle, and up."),
            phrase("resnet: convolutions that know the timestep. attention: where pixels look at each other and at the prompt's words."),
            phrase("A feature map is one channel of an output, as a picture. Outputs are computed again when they are asked for."),
            phrase("Try: ↑ ↓ select, Enter opens, `:info modules sort max` finds the largest output."),
        ],
    }
    Attention(attention) {
        name: phrase("attention"), short: phrase("attn"), shortest: phrase("attn"), key: 'a',
        summary: phrase("attention: where the picture attends to each word, and the word's effect"),
        about: [
            phrase("Which word does each part of the picture look at? A map for the selected word, over the picture."),
            phrase("share: the part of the attention that a word gets, over all pixels, layers and heads of the step."),
            phrase("its effect: what changes when the word is left out. Attention and effect do not always agree."),
            phrase("layer, head: the UNet has several attentions, each with several heads; the strip below shows them one by one."),
            phrase("Try: ↑ ↓ select a word, h l select a small map, x shows what one point looks at."),
        ],
    }
    Difference(difference) {
        name: phrase("difference"), short: phrase("diff"), shortest: phrase("diff"), key: 'D',
        summary: phrase("difference: where a recorded run first differs, and why"),
        about: [
            phrase("Where does a recorded run first differ, and why? Each row is a tensor or module, in the order of the run."),
            phrase("The number is the relative difference; it is listed when it is beyond what rounding explains."),
            phrase("The reason below names the first module with equal inputs and another output: the fault is there."),
            phrase("The pictures are both outputs and their distance at each pixel."),
            phrase("Try: `:diff FOLDER` compares with a trace, ↑ ↓ select a row, Enter enlarges."),
        ],
    }
}

impl ViewId {
    /// The view's entry.
    pub fn entry(self) -> &'static Entry {
        &VIEWS[self.index()]
    }

    /// The view of that name.
    pub fn named(name: &str) -> Option<Self> {
        VIEWS.iter().find(|view| view.name == name).map(|view| view.id)
    }

    /// The view's place in [`VIEWS`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl Default for ViewId {
    fn default() -> Self {
        VIEWS[0].id
    }
}

/// The views, each with its own state.
#[derive(Debug)]
pub struct Views {
    all: Vec<Box<dyn View>>,
    /// The lesson, next to any of them.
    pub lesson: lesson::Lesson,
}

impl Default for Views {
    fn default() -> Self {
        Self { all: VIEWS.iter().map(|view| (view.create)()).collect(), lesson: lesson::Lesson::default() }
    }
}

impl Views {
    /// A view.
    pub fn of(&self, id: ViewId) -> &dyn View {
        &*self.all[id.index()]
    }

    /// Every view takes over what a command showed.
    pub fn follow(&mut self, outcome: &Outcome) {
        self.all.iter_mut().for_each(|view| view.follow(outcome));
    }

    /// A view, to handle a key.
    pub fn of_mut(&mut self, id: ViewId) -> &mut dyn View {
        &mut *self.all[id.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_ids_and_every_key_is_another() {
        for (index, view) in VIEWS.iter().enumerate() {
            assert_eq!((view.id.index(), ViewId::named(view.name)), (index, Some(view.id)));
            assert!(VIEWS.iter().filter(|other| other.key == view.key).count() == 1, "{}", view.name);
            let [answers, words @ ..] = view.about.map(Phrase::english);
            assert!(answers.contains('?'), "{answers} is a question and its answer");
            assert!(words.iter().all(|line| line.len() > 20), "{}", view.name);
        }
        let columns: usize = VIEWS.iter().map(|view| view.shortest.english().len() + 4).sum();
        assert!(columns <= 80 + 12, "{columns} columns");
    }
}
