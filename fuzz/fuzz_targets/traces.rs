//! A trace: the text of its `trace.json`, and the bytes of the file that it names.
#![no_main]

use diffuscope::trace::Trace;
use libfuzzer_sys::fuzz_target;
use std::fs;

fuzz_target!(|parts: (&str, &[u8])| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("trace.json"), parts.0).expect("a file in it");
    fs::write(folder.path().join("a.safetensors"), parts.1).expect("a file in it");
    let Ok(trace) = Trace::open(folder.path()) else { return };
    for stage in trace.stages() {
        for name in stage.names() {
            let _ = stage.tensor(&name);
        }
        for call in &stage.calls {
            let _ = stage.output(call);
        }
    }
});
