//! A cache of inspection results, limited in size.

use super::text;
use crate::debugger::{Examination, Inspection};
use std::collections::VecDeque;
use std::sync::Arc;

/// The limit in bytes.
const ROOM: usize = 64 << 20;
/// The limit in entries; an error takes next to no bytes.
const MOST: usize = 1024;

/// An inspection's result, or why there is none.
pub type Finding = Result<Arc<Inspection>, String>;

/// Inspection results by query. The oldest are dropped first.
#[derive(Debug, Default)]
pub struct Findings {
    known: VecDeque<(Examination, Finding)>,
}

impl Findings {
    /// Adds a result.
    pub fn put(&mut self, query: Examination, finding: Finding) {
        self.known.retain(|(known, _)| *known != query);
        self.known.push_back((query, finding.map_err(|why| text::clean(&why))));
        while (self.bytes() > ROOM || self.known.len() > MOST) && self.known.len() > 1 {
            self.known.pop_front();
        }
    }

    /// The result of a query; `None` while there is none.
    pub fn get(&self, query: &Examination) -> Option<&Finding> {
        self.known.iter().rev().find(|(known, _)| known == query).map(|(_, finding)| finding)
    }

    fn bytes(&self) -> usize {
        self.known.iter().map(|(_, finding)| finding.as_ref().map_or(0, |found| found.bytes())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::InspectQuery;
    use crate::debugger::record::RecordId;

    #[test]
    fn a_new_result_replaces_the_old_one_and_the_oldest_are_dropped() {
        let query = |id| Examination { record: RecordId(id), asked: InspectQuery::Modules };
        let mut findings = Findings::default();
        findings.put(query(0), Err("not yet".into()));
        findings.put(query(0), Err("a\u{1b}[31mb".into()));
        assert_eq!(findings.known.len(), 1);
        assert!(!findings.get(&query(0)).unwrap().as_ref().unwrap_err().contains('\u{1b}'));
        (1..=MOST).for_each(|id| findings.put(query(id), Err(String::new())));
        assert!(findings.get(&query(0)).is_none() && findings.get(&query(1)).is_some());
    }
}
