//! Changing what comes next.

use super::Session;
use super::SessionError;
use super::SessionHost;
use crate::debugger::language::edit::Edit;
use crate::debugger::outcome::Outcome;
use crate::debugger::outcome::Shown;
use crate::debugger::record::TensorRow;
use crate::debugger::text::percent;
use crate::debugger::timeline::tree::BranchId;
use tr::tr;

use crate::pipeline::init_size::Resized;
use crate::pipeline::request::STRENGTH;
use crate::pipeline::{Fault, Request, RequestError, Setting, Snapshot, Stage};
use crate::scheduler::SchedulerChoice;
use crate::scheduler::step::timestep_text;
use crate::tensor::PlainTensor;
use crate::tensor::compare::relative_difference;

impl Session {
    /// Changes a setting at the cursor. At an earlier stage that is a fork: what is recorded stays on its own timeline.
    pub(super) fn set(&mut self, setting: &Setting, value: &str) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("set")?;
        let here = self.timeline().here();
        let name = setting.name();
        check_changeable(setting, here, value)?;
        let old = here.request().clone();
        let mut request = old.clone();
        setting.set(value, &mut request).map_err(SessionError::Refused)?;
        if request == *here.request() {
            return Ok(Outcome::message(format!("{name} = {value} already")));
        }
        let next = here.with_request(request, self.backend.models()?).map_err(RequestError::in_session)?;
        let new = next.request().clone();
        let is_prompt = new.texts() != old.texts();
        let again = is_prompt && !here.records().is_empty() && !next.is_encoded();
        self.check_undoes_no_edit(&next)?;
        let lost = if again { here.edits_of_embeddings() } else { vec![] };
        let complete = next.position().is_none();
        // Only now: what is refused changes nothing.
        self.leave();
        // `own` is a scheduler too, and has a name.
        let shown = if name == "scheduler" { setting.get(&new).to_string() } else { value.to_string() };
        let mut outcome = Outcome::message(format!("{name} = {shown}"));
        outcome.messages.extend(left_behind(&old.scheduler, &new.scheduler));
        if !self.timeline().at_tip() {
            let wish = if setting.is_text() { name.to_string() } else { format!("{name}={value}") };
            let forked = self.fork_off(&wish);
            outcome.messages.push(forked);
        }
        self.timeline_mut().replace_here(next);
        if complete {
            outcome.messages.push(tr!("the run is complete; `restart` runs it again with this"));
        } else if again {
            outcome.messages.push(tr!("the prompt is encoded again before the next stage runs"));
            let lost = lost.iter().map(|edit| tr!("`set {edit}` is undone when it is encoded", edit));
            outcome.warnings.extend(lost);
        }
        let is_another_picture = new.init_image != old.init_image;
        if is_another_picture || (new.width, new.height) != (old.width, old.height) {
            outcome.messages.extend(self.resized_told(&new).map(|resized| match is_another_picture {
                true => tr!("{resized}; the run keeps its size", resized),
                false => resized,
            }));
        }
        let steps = |request: &Request| (request.strength, request.num_inference_steps);
        if is_another_picture || steps(&new) != steps(&old) {
            outcome.messages.extend(self.first_step_told());
        }
        Ok(outcome)
    }

    /// What happens to the picture that a run starts from, where it does not have the run's size.
    pub(super) fn resized_told(&self, request: &Request) -> Option<String> {
        let image = request.init_image.as_ref()?;
        let size = (request.height, request.width);
        Resized::of(image, size, self.backend.info().vae_scale_factor).remark(image, size)
    }

    /// The step with which a run begins that starts from a picture.
    fn first_step_told(&self) -> Option<String> {
        let request = self.timeline().here().request();
        let steps = request.steps();
        if request.init_image.is_none() {
            // Without one, the only news is that strength does nothing.
            let idle = request.strength != STRENGTH;
            return idle
                .then(|| tr!("strength counts with an init_image; `set init_image FILE|sample:NAME`"));
        }
        Some(match steps.is_empty() {
            true => tr!("no step is left: the picture is encoded, and decoded as it is"),
            false => tr!(
                "the run starts at denoise {} of {}: get_latent noises the picture to t = {}",
                steps.start,
                steps.end,
                timestep_text(self.timeline().here().scheduler().timesteps()[steps.start])
            ),
        })
    }

    /// Makes a known mistake from here on, or none; at an earlier stage that is a fork.
    pub(super) fn set_fault(&mut self, fault: Option<Fault>) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("set")?;
        let here = self.timeline().here();
        let told = fault.map_or("off".into(), |fault| fault.to_string());
        if here.request().fault == fault {
            return Ok(Outcome::message(tr!("fault = {told} already", told)));
        }
        if let Some(fault) = fault {
            check_to_come(fault, here)?;
        }
        let next = here.with_request(Request { fault, ..here.request().clone() }, self.backend.models()?)?;
        self.leave();
        let mut outcome = Outcome::message(format!("fault = {told}"));
        if !self.timeline().at_tip() {
            outcome.messages.push(self.fork_off(&fault.map_or("no-fault".into(), |fault| fault.to_string())));
        }
        self.timeline_mut().replace_here(next);
        Ok(outcome)
    }

    /// Changes a tensor by hand, on a new timeline: what the stages made stays where it is.
    pub(super) fn edit(&mut self, edit: &Edit, host: &mut dyn SessionHost) -> Result<Outcome, SessionError> {
        self.refuse_while_comparing("set")?;
        self.backend.models()?;
        self.leave();
        let mut here = self.timeline().here().clone();
        if edit.name() != "latents" {
            // A prompt that was changed since would be encoded over it.
            here = self.backend.encoded(&here, host)?;
        }
        let before = here.tensor(edit.name()).map(|(_, tensor)| tensor.clone());
        let next = edit.apply(&here, &self.here().with_here(here.clone()))?;
        if next.position().is_none() {
            return Err(SessionError::Refused(
                "the run is complete: nothing comes after it that the tensor would go into; `back` first"
                    .into(),
            ));
        }
        let message = self.fork_off(&format!("{}-edited", edit.name()));
        self.timeline_mut().replace_here(next);
        let after = self.timeline().here().tensor(edit.name()).map(|(stage, tensor)| (stage, tensor.clone()));
        let mut outcome = Outcome::message(edit.text().to_string());
        if let (Some(before), Some((stage, after))) = (before, after) {
            let (before, after) = (PlainTensor::of(&before)?, PlainTensor::of(&after)?);
            let moved = relative_difference(after.data(), before.data());
            outcome.messages = vec![tr!("{}: changed by {} (relative L2)", edit.text(), percent(moved))];
            outcome.show(Shown::Tensors(vec![TensorRow::new(edit.name(), Some(stage), &after)]));
        }
        outcome.messages.push(message);
        Ok(outcome)
    }

    /// Refuses to go on as `next` where a prompt would be encoded over an embedding that was changed by hand at the same place:
    /// their order would not be known afterwards.
    pub(super) fn check_undoes_no_edit(&self, next: &Snapshot) -> Result<(), SessionError> {
        let lost = if next.is_encoded() { vec![] } else { next.edits_of_embeddings() };
        match self.timeline().edited_here().iter().find(|edit| lost.contains(edit)) {
            Some(edit) => Err(SessionError::Refused(tr!(
                "`set {edit}` was done here: another prompt, encoded now, would undo it; `next` first, or change the prompt \
                 on the timeline that this one branched off",
                edit
            ))),
            None => Ok(()),
        }
    }

    /// Starts a new timeline here; the message about it.
    pub(super) fn fork_off(&mut self, wish: &str) -> String {
        let name = self.timelines.free_name(wish);
        let parent = self.timelines.current();
        let (parent_id, parent_name, place) = (parent.id, parent.name.clone(), parent.place());
        let timeline = parent.timeline.branch();
        let id: BranchId = self.timelines.add(name.clone(), timeline, Some(parent_id));
        self.timelines.switch(id);
        tr!(
            "timeline {name} branched off {parent_name} {place}; `switch {parent_name}` goes back",
            name,
            parent_name,
            place
        )
    }
}

/// Refuses a mistake that no stage which is still to come makes.
fn check_to_come(fault: Fault, here: &Snapshot) -> Result<(), SessionError> {
    let steps = here.request().steps();
    let stages = |from: usize| (from..).map_while(|index| Stage::at(index, &steps));
    // A prompt that was changed since is encoded again.
    let is_again = !here.is_encoded() && fault.is_made_in(Stage::EncodePrompt);
    if is_again || stages(here.records().len()).any(|stage| fault.is_made_in(stage)) {
        return Ok(());
    }
    Err(SessionError::Refused(match stages(0).find(|stage| fault.is_made_in(*stage)) {
        Some(stage) => {
            let name = stage.name();
            tr!(
                "{fault} is a mistake of {name}, which has run; `fork at {name}` goes back to before it on a timeline of \
                 its own, then `set fault {fault}`",
                fault,
                name
            )
        }
        None => tr!("{fault} is a mistake of denoise, and this run has no step of it", fault),
    }))
}

/// Refuses what cannot change any more once `get_latent` has run.
pub(super) fn check_changeable(setting: &Setting, here: &Snapshot, value: &str) -> Result<(), SessionError> {
    let name = setting.name();
    if here.tensor("latents").is_some() && setting.fixes_initial_latents() {
        return Err(SessionError::Refused(tr!(
            "{name} cannot change once get_latent has run: its latents are made; `fork at get_latent` goes back to \
             before it on a timeline of its own, then `set {name} {value}`",
            name,
            value
        )));
    }
    Ok(())
}

/// The arguments that were changed, and that another scheduler does not have.
fn left_behind(old: &SchedulerChoice, new: &SchedulerChoice) -> Option<String> {
    let kept = new.changed();
    let lost: Vec<_> = old.changed().into_iter().filter(|argument| !kept.contains(argument)).collect();
    let is_other = old.config().class != new.config().class && !new.is_own();
    (is_other && !lost.is_empty())
        .then(|| tr!("{} has no {}, which no longer counts", new.config().class.name(), lost.join(", ")))
}
