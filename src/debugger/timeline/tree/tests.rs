use super::*;
use crate::checkpoint::ModelSource;
use crate::pipeline::{Models, Request};
use candle_core::{DType, Device};

#[test]
fn coming_back_keeps_what_was_done_since() {
    let models = Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap();
    let start = Snapshot::start(Request::for_models(&models, "red apple"), &models).unwrap();
    let mut timelines = TimelineTree::new(Timeline::new(start.clone()));
    let then = timelines.clone();
    assert!(timelines.come_back(&then).is_empty());

    // Changed where it stood, and branched off.
    timelines.current_mut().timeline.replace_here(start.clone());
    let branched = timelines.current().timeline.branch();
    let main = timelines.current().id;
    timelines.add("other".into(), branched, Some(main));
    timelines.rename(MAIN, "mine").unwrap();
    assert_eq!(timelines.come_back(&then), ["my-mine", "my-other"]);
    assert_eq!(timelines.names(), ["main", "my-mine", "my-other"]);
    assert_eq!(timelines.current().name, "main");
    assert!(Arc::ptr_eq(
        &timelines.list()[0].timeline.snapshots()[0],
        &then.list()[0].timeline.snapshots()[0]
    ));

    // What is kept already is kept once, under its name.
    let later = timelines.clone();
    assert!(timelines.come_back(&then).is_empty());
    timelines.delete("my-other").unwrap();
    assert!(timelines.come_back(&later).is_empty());
    assert_eq!(timelines.names(), ["main", "my-mine"]);
    let ids: HashSet<BranchId> = timelines.list().iter().map(|branch| branch.id).collect();
    assert_eq!(ids.len(), 2);
}
