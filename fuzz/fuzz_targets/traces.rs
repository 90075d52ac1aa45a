//! A trace: the text of its `trace.json`, a file of names, and the bytes of the file of tensors, with a NUL between them. It is opened,
//! renamed, read, and compared with itself.
#![no_main]

use diffuscope::trace::diff::pair;
use diffuscope::trace::{Names, Trace};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::ops::ControlFlow;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (index, names, tensors) = (part(), part(), part());
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("trace.json"), index).expect("a file in it");
    fs::write(folder.path().join("a.safetensors"), tensors).expect("a file in it");
    fs::write(folder.path().join("b.safetensors"), tensors).expect("a file in it");
    let names = std::str::from_utf8(names).ok().and_then(|text| Names::parse("names.toml", text).ok());
    let Ok(mut trace) = Trace::open(folder.path()) else { return };
    if let Some(names) = names {
        let _ = names.apply(&mut trace);
    }
    for stage in trace.stages() {
        for name in stage.names() {
            let _ = stage.tensor(&name);
            let _ = stage.on_disk(&name).map(|tensor| tensor.pieces(|_, _| ControlFlow::Continue(())));
        }
        for call in &stage.calls {
            let _ = stage.output(call);
            for input in &call.inputs {
                let _ = stage.input(call, input);
            }
        }
    }
    if let Ok(comparison) = pair::compare(&trace, &trace, None) {
        for row in &comparison.rows {
            let _ = (row.json(), row.difference());
        }
    }
});
