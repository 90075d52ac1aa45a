//! What is shown after every stop.

use super::Session;
use super::SessionError;
use crate::debugger::expr::Answer;
use crate::debugger::expr::Expression;
use crate::debugger::expr::ExpressionError;
use crate::debugger::expr::names;
use crate::debugger::outcome::Displayed;
use crate::debugger::outcome::Outcome;
use crate::debugger::outcome::Shown;
use crate::debugger::text::{counted, shape};
use crate::pipeline::snapshot::tensor_names;
use tr::tr;

/// Expressions by number; numbers are not used twice.
#[derive(Debug, Default)]
pub(super) struct Displays {
    list: Vec<(usize, Expression)>,
    made: usize,
}

impl Session {
    /// Displays an expression from now on; without one, all of them now.
    pub(super) fn display(&mut self, expression: Option<Expression>) -> Outcome {
        if let Some(expression) = expression {
            self.displays.made += 1;
            self.displays.list.push((self.displays.made, expression));
            let displays = self.displayed();
            return Outcome::default()
                .showing(Shown::Displays(displays.into_iter().last().into_iter().collect()));
        }
        if self.displays.list.is_empty() {
            return Outcome::message("nothing is displayed; `display EXPR` does");
        }
        Outcome::default().showing(Shown::Displays(self.displayed()))
    }

    /// Displays an expression no longer, or none of them.
    pub(super) fn undisplay(&mut self, id: Option<usize>) -> Result<Outcome, SessionError> {
        let before = self.displays.list.len();
        self.displays.list.retain(|(known, _)| id.is_some_and(|id| *known != id));
        match (before - self.displays.list.len(), id) {
            (0, Some(id)) => {
                Err(SessionError::Refused(tr!("there is no display {id}; `info display` lists them", id)))
            }
            (_, Some(id)) => Ok(Outcome::message(tr!("display {id} deleted", id))),
            (count, None) => Ok(Outcome::message(format!("{} deleted", counted(count, "display")))),
        }
    }

    /// What is displayed, with the values here; what has none says why.
    pub fn displayed(&self) -> Vec<Displayed> {
        let here = self.here();
        let value = |expression: &Expression| match expression.evaluate(&here) {
            Ok(Answer::Tensor(tensor)) => {
                let s = tensor.summary();
                tr!(
                    "{}, mean {}, std {}",
                    shape(tensor.tensor().shape()),
                    format_args!("{:.4}", s.mean),
                    format_args!("{:.4}", s.std)
                )
            }
            Ok(Answer::Bool(truth)) => truth.to_string(),
            Ok(Answer::Number(number)) => format!("{number:.6}"),
            Ok(Answer::List(text) | Answer::Text(text)) => text,
            // What is not there yet will be: a reader who displays `step` at the start means later.
            Err(ExpressionError::Missing { name, .. }) if is_to_come(&name) => tr!("not there yet"),
            Err(
                ExpressionError::Missing { reason, .. }
                | ExpressionError::Evaluation { reason, .. }
                | ExpressionError::Syntax { reason, .. },
            ) => reason,
            Err(other @ ExpressionError::NotACondition { .. }) => other.to_string(),
        };
        let shown = |(id, expression): &(usize, Expression)| Displayed {
            id: *id,
            expression: expression.text().into(),
            value: value(expression),
        };
        self.displays.list.iter().map(shown).collect()
    }
}

/// Whether a name is of something that a run comes to.
fn is_to_come(name: &str) -> bool {
    tensor_names().any(|known| known == name) || names::is_plain(name)
}
