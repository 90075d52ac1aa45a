//! The scheduler's step in formulas, with the numbers of the shown step.
//!
//! - [`formulas`]: the formulas.

mod formulas;

use super::pane::{Pane, Reply, View};
use super::welcome;
use crate::debugger::view::ScheduleView;
use crate::phrase::{Phrase, phrase};
use crate::scheduler::StepFormulas;
use crate::scheduler::step::timestep_text;
use crate::tui::canvas::Canvas;
use crate::tui::keymap::ViewKeys;
use crate::tui::list::{self, Scroll};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widget::plot::{Plot, Series, Stroke};
use crossterm::event::{KeyCode, KeyEvent};
use formulas::{Element, Step};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tr::tr;

const STEP: &str = "step";
const ALPHAS: &str = "alphas";
const TIMESTEPS: &str = "timesteps";

/// The scheduler's step in formulas.
#[derive(Debug, Default)]
pub struct Scheduler {
    /// The element of the latents whose numbers are shown.
    element: Element,
    /// The scroll position of the formulas.
    scroll: Scroll,
    /// Whether the chart shows σ of the run's calls, and not ᾱ of the training timesteps.
    shows_sigma: bool,
}

impl View for Scheduler {
    fn panes(&self, state: &State, area: Rect) -> Vec<Pane> {
        let Some(view) = &state.view else { return vec![Pane::new(STEP, "scheduler", area)] };
        let title = match Step::of(state) {
            Some(step) => {
                let (name, timesteps) = (&view.schedule.name, step.step.timesteps_text());
                format!("{name} {}: t = {timesteps} · {}", step.stage, step.step.source)
            }
            None => tr!("the step of {}", view.schedule.name),
        };
        // A user who knows the checkpoint expects its own scheduler.
        let title = match state.model.as_ref().and_then(|model| model.stands_in_for.as_deref()) {
            Some(class) => {
                tr!("{title} · DDIM stands in for {}", text::shortened(&text::clean(class), 24), title)
            }
            None => title,
        };
        // The panes below share the rows that the formulas leave, and always have some.
        let formulas = self.lines(state, &Theme::default(), area.width).len() as u16 + 1;
        let least = if area.height >= 30 { 12 } else { 6 };
        let gaps = Step::of(state).map_or(0, |step| step.gaps());
        let formulas = match area.height.saturating_sub(least) {
            _ if formulas == 1 => area.height.saturating_sub(least),
            rows if rows >= formulas + gaps => formulas + gaps,
            rows => rows.min(formulas),
        };
        let [step, below] = Layout::vertical([Constraint::Length(formulas), Constraint::Min(0)]).areas(area);
        let [alphas, timesteps] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(below);
        let (taken, all) = (view.schedule.timesteps.len(), view.schedule.alphas_cumprod.len());
        vec![
            Pane::new(STEP, title, step),
            match self.shows_sigma {
                true => Pane::new(ALPHAS, tr!("log₁₀ σ: the noise at each call"), alphas),
                false => Pane::new(ALPHAS, tr!("ᾱ: the remaining signal"), alphas),
            },
            Pane::new(TIMESTEPS, tr!("{taken} timesteps of {all}", taken, all), timesteps),
        ]
    }

    fn draw(&self, pane: &str, canvas: &mut Canvas<'_>, area: Rect) {
        let (state, theme) = (canvas.state, canvas.theme);
        let Some(view) = &state.view else { return };
        match (pane, Step::of(state)) {
            (ALPHAS, _) if self.shows_sigma => {
                sigmas(&view.schedule, here(state), theme).render(area, canvas.buf);
            }
            (ALPHAS, _) => {
                let [top, drawn] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
                let legend = [("━ ", 0, "signal √ᾱ"), ("  ╍ ", 1, "noise √(1−ᾱ)")];
                let spans = legend.into_iter().flat_map(|(mark, series, name)| {
                    [Span::styled(mark, theme.series[series]), Span::styled(name, theme.faint)]
                });
                canvas.lines(&[Line::from_iter(spans)], top);
                alphas(&view.schedule, here(state), theme).render(drawn, canvas.buf);
            }
            (TIMESTEPS, _) => timesteps(&view.schedule, here(state), canvas, area),
            (_, Some(step)) => {
                let mut lines = step.lines(self.element, theme, area.width);
                if usize::from(area.height) >= lines.len() + usize::from(step.gaps()) {
                    lines = formulas::spaced(lines, step.head(self.element, theme, area.width).len());
                }
                let top = self.scroll.top(lines.len(), area.height.into());
                canvas.scrolled(&lines, top, area);
            }
            (_, None) => welcome::draw_text(
                "A step of the scheduler takes the latents x_t from timestep t to an earlier one. From the residual it \
                 computes the picture (x̂₀, pred_original_sample) and the noise (ε̂, pred_epsilon), and mixes both again \
                 with less noise. This view shows the formulas with a step's own numbers: `:goto denoise 0` goes to \
                 the first, n runs it.",
                canvas,
                area,
            ),
        }
    }

    fn bindings(&self) -> &'static [ViewKeys] {
        const {
            &[
                ViewKeys::new(
                    &[KeyCode::Char('h'), KeyCode::Char('l')],
                    phrase("element"),
                    phrase("show the numbers of the previous or next element"),
                )
                .within(&[STEP]),
                ViewKeys::new(
                    &[KeyCode::Char('['), KeyCode::Char(']')],
                    Phrase::NONE,
                    phrase("show the element one row of latents up or down"),
                )
                .within(&[STEP]),
                ViewKeys::new(
                    &[KeyCode::Char('v')],
                    phrase("σ or ᾱ"),
                    phrase("show σ of the run's calls, or ᾱ of the training timesteps"),
                )
                .within(&[ALPHAS]),
            ]
        }
    }

    fn step(&mut self, pane: &str, step: list::Step, room: Size, state: &State) -> Reply {
        if pane != STEP {
            return Reply::Unknown;
        }
        let lines = self.lines(state, &Theme::default(), room.width).len();
        self.scroll = self.scroll.step(step, lines, room.height.into());
        Reply::Taken
    }

    fn key(&mut self, pane: &str, key: KeyEvent, _: Size, state: &State) -> Reply {
        if (pane, key.code) == (ALPHAS, KeyCode::Char('v')) {
            self.shows_sigma = !self.shows_sigma;
            return Reply::Taken;
        }
        let Some(step) = Step::of(state).filter(|_| pane == STEP) else { return Reply::Unknown };
        match key.code {
            KeyCode::Char('l') => self.element = step.moved(self.element, 1),
            KeyCode::Char('h') => self.element = step.moved(self.element, -1),
            KeyCode::Char(']') => self.element = step.moved(self.element, step.width() as isize),
            KeyCode::Char('[') => self.element = step.moved(self.element, -(step.width() as isize)),
            _ => return Reply::Unknown,
        }
        Reply::Taken
    }

    fn press(&mut self, pane: &str, at: Position, room: Size, state: &State) -> Reply {
        let Some(view) = state.view.as_ref().filter(|_| pane == TIMESTEPS) else { return Reply::Unknown };
        // The step whose timestep is nearest to the position.
        let all = view.schedule.alphas_cumprod.len().max(1);
        let timestep = (usize::from(at.x) * all / usize::from(room.width).max(1)).min(all - 1);
        let distance = |visited: &f64| (visited - (all - 1 - timestep) as f64).abs();
        let steps = view.schedule.timesteps.iter().enumerate();
        let nearest = steps.min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        nearest.map_or(Reply::Taken, |(step, _)| Reply::Look(step + 3))
    }

    fn selected(&self, _: &str, state: &State) -> Option<String> {
        let lines = Step::of(state)?.lines(self.element, &Theme::default(), u16::MAX);
        Some(lines.iter().map(|line| line.to_string() + "\n").collect())
    }
}

impl Scheduler {
    /// The formulas of the shown step; `None` if there is no step.
    fn lines(&self, state: &State, theme: &Theme, width: u16) -> Vec<Line<'static>> {
        Step::of(state).map_or(vec![], |step| step.lines(self.element, theme, width))
    }
}

/// The last finished step.
fn here(state: &State) -> Option<&StepFormulas> {
    state.step()?.0.step.as_deref()
}

/// The place of a step in the run's schedule, which with a start image begins in the middle.
fn place(schedule: &ScheduleView, here: Option<&StepFormulas>) -> Option<usize> {
    (schedule.timesteps.len() + here?.index).checked_sub(schedule.calls)
}

/// From noise to picture, as in a run: from the last timestep down to 0.
fn alphas(schedule: &ScheduleView, here: Option<&StepFormulas>, theme: &Theme) -> Plot {
    let last = schedule.alphas_cumprod.len().saturating_sub(1) as f64;
    let line = |index: usize, of: fn(f64) -> f64| Series {
        points: (schedule.alphas_cumprod.iter().enumerate())
            .step_by(8)
            .map(|(t, alpha)| (last - t as f64, of(f64::from(*alpha))))
            .rev()
            .collect(),
        style: theme.series[index],
        stroke: Stroke::of(index, theme.series.len()),
        has_marks: false,
    };
    Plot {
        series: vec![line(0, f64::sqrt), line(1, |alpha| (1. - alpha).max(0.).sqrt())],
        x: [0., last],
        here: here.map(|step| last - step.timestep),
        ends: [format!("t = {last}"), "t = 0".into()],
        faint: theme.faint,
    }
}

/// The logarithm of σ at each call of the UNet, with a mark at each.
fn sigmas(schedule: &ScheduleView, here: Option<&StepFormulas>, theme: &Theme) -> Plot {
    let first = schedule.calls.saturating_sub(schedule.timesteps.len());
    let sigmas = schedule.sigmas.iter().take(schedule.timesteps.len());
    let point = |(call, sigma): (usize, &f32)| ((first + call) as f64, f64::from(*sigma).log10());
    let last = schedule.calls.saturating_sub(1);
    Plot {
        series: vec![Series {
            points: sigmas.enumerate().map(point).collect(),
            style: theme.series[0],
            stroke: Stroke::of(0, theme.series.len()),
            has_marks: true,
        }],
        x: [first as f64, last as f64],
        here: here.map(|step| step.index as f64),
        ends: [format!("denoise {first}"), format!("denoise {last}")],
        faint: theme.faint,
    }
}

/// The timesteps on a ruler, from noise to picture.
fn timesteps(schedule: &ScheduleView, here: Option<&StepFormulas>, canvas: &mut Canvas<'_>, area: Rect) {
    let (theme, all) = (canvas.theme, schedule.alphas_cumprod.len());
    let columns = usize::from(area.width);
    if columns == 0 || all == 0 {
        return;
    }
    let column = |timestep: f64| {
        let timestep = (timestep.round().max(0.) as usize).min(all - 1);
        (all - 1 - timestep) * columns / all
    };
    let mut ruler = vec![Span::styled("·", theme.rule); columns];
    for timestep in &schedule.timesteps {
        let passed = here.is_some_and(|now| *timestep > now.timestep);
        ruler[column(*timestep)] = Span::styled("│", if passed { theme.done } else { theme.plain });
    }
    let mut below = Line::default();
    if let Some(step) = here {
        ruler[column(step.timestep)] = Span::styled("┃", theme.here);
        let label = format!("▲ t = {}", step.timesteps_text());
        let at = column(step.timestep).min(columns.saturating_sub(label.chars().count()));
        below = Line::from(vec![Span::raw(" ".repeat(at)), Span::styled(label, theme.here)]);
    }
    let ends = Line::styled(tr!("{} is noise, 0 the picture", all - 1), theme.faint);
    let mut lines = vec![Line::from(ruler), below, ends];
    let room = usize::from(area.height).saturating_sub(lines.len() + 2);
    if room < FEWEST_ROWS {
        lines.push(around(schedule, here, theme));
    } else {
        lines.push(Line::default());
        lines.extend(table(schedule, here, theme, room));
    }
    canvas.lines(&lines, area);
}

/// With fewer rows than this, one line of timesteps is more informative than the table.
const FEWEST_ROWS: usize = 4;

/// Every timestep with its weights of signal and noise: `rows` of them, around the current one.
fn table(
    schedule: &ScheduleView,
    here: Option<&StepFormulas>,
    theme: &Theme,
    rows: usize,
) -> Vec<Line<'static>> {
    let at = place(schedule, here);
    let first = at.unwrap_or(0).saturating_sub(rows / 2).min(schedule.timesteps.len().saturating_sub(rows));
    let head = format!("  {:>7}{:>8}{:>9}{:>9}{:>9}", "denoise", "t", "σ", "√ᾱ", "√(1−ᾱ)");
    let before = schedule.calls - schedule.timesteps.len().min(schedule.calls);
    let row = |(step, t): (usize, &f64)| {
        let sigma = schedule.sigmas.get(step).map_or(f64::NAN, |sigma| f64::from(*sigma));
        let signal = 1. / (sigma * sigma + 1.).sqrt();
        let (noise, call, t) = ((1. - signal * signal).max(0.).sqrt(), before + step, timestep_text(*t));
        let mark = if at == Some(step) { "▸" } else { " " };
        let style = match at {
            Some(at) if at == step => theme.here,
            Some(at) if at > step => theme.done,
            _ => theme.plain,
        };
        Line::styled(format!("{mark} {call:>7}{t:>8}{sigma:>9.4}{signal:>9.4}{noise:>9.4}"), style)
    };
    let table = schedule.timesteps.iter().enumerate().skip(first).take(rows).map(row);
    std::iter::once(Line::styled(head, theme.faint)).chain(table).collect()
}

/// The timesteps before and after the current one.
fn around(schedule: &ScheduleView, here: Option<&StepFormulas>, theme: &Theme) -> Line<'static> {
    let at = place(schedule, here).unwrap_or(0);
    let from = at.saturating_sub(2);
    let mut line = Line::styled(if from > 0 { "… " } else { "" }, theme.faint);
    for (index, timestep) in schedule.timesteps.iter().enumerate().skip(from).take(6) {
        let style = if here.is_some() && index == at { theme.here } else { theme.faint };
        line.push_span(Span::styled(format!("{} ", timestep_text(*timestep)), style));
    }
    if from + 6 < schedule.timesteps.len() {
        line.push_span(Span::styled("…", theme.faint));
    }
    line
}
