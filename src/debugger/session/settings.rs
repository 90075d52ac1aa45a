//! Changing what comes next.

use super::{Answered, Session, SessionError, said};
use crate::debugger::command::Setting;

impl Session {
    /// Changes a setting at the cursor; what was recorded behind it is dropped.
    pub(super) fn set(&mut self, setting: Setting, value: &str) -> Result<Answered, SessionError> {
        use Setting::{Eta, GuidanceScale, Height, NegativePrompt, NumInferenceSteps, Prompt, Seed, Width};
        self.leave();
        let here = self.timeline.here();
        let name = setting.name();
        let get_latent_ran = here.tensor("latents").is_some();
        if get_latent_ran && matches!(setting, Seed | Height | Width | NumInferenceSteps) {
            return Err(SessionError::Refused(format!(
                "{name} cannot change once get_latent has run: its noise is drawn; `goto get_latent` first"
            )));
        }
        let mut request = here.request().clone();
        match setting {
            Prompt => request.prompt = value.into(),
            NegativePrompt => request.negative_prompt = value.into(),
            Height => request.height = parsed(name, value, "a number of pixels")?,
            Width => request.width = parsed(name, value, "a number of pixels")?,
            NumInferenceSteps => request.num_inference_steps = parsed(name, value, "a number of steps")?,
            GuidanceScale => request.guidance_scale = parsed(name, value, "a number")?,
            Seed => request.seed = parsed(name, value, "a whole number")?,
            Eta => request.eta = parsed(name, value, "a number from 0 to 1")?,
        }
        let next = here.with_request(request, &self.models)?;
        let again = matches!(setting, Prompt | NegativePrompt) && !here.records().is_empty();
        let complete = next.position().is_none();
        let dropped = self.timeline.replace_here(next);

        let mut answered = said(format!("{name} = {value}"));
        if complete {
            answered.messages.push("the run is complete; `restart` runs it again with this".into());
        } else if again {
            answered.messages.push("it is encoded before the next stage runs".into());
        }
        if dropped > 0 {
            let stages = if dropped == 1 { "stage".into() } else { format!("{dropped} stages") };
            answered.warnings.push(format!(
                "the recorded {stages} after this point were made with other settings and are dropped"
            ));
        }
        Ok(answered)
    }
}

fn parsed<T: std::str::FromStr>(name: &str, value: &str, expected: &str) -> Result<T, SessionError> {
    value
        .parse()
        .map_err(|_| SessionError::Refused(format!("{name} cannot be `{value}`; expected {expected}")))
}
