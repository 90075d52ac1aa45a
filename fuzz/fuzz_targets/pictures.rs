//! A picture's settings: the bytes are a PNG, the text of a chunk `parameters`, and that of ComfyUI's graph. What was found goes into a
//! request.
#![no_main]

use diffuscope::picture::png::found::{Found, FoundError};
use diffuscope::picture::png::{comfy, parameters};
use diffuscope::pipeline::Request;
use libfuzzer_sys::fuzz_target;

fn check(found: Result<Found, FoundError>) {
    match found {
        Ok(found) => {
            let mut request = Request::default();
            let _ = found.apply(false, &mut request);
            assert!(found.left.len() < 100 && found.left.iter().all(|line| !line.contains('\n')));
            assert!(found.taken().iter().all(|name| found.has(name)));
        }
        Err(e) => assert!(e.to_string().len() < 2000, "longer than anybody reads: {e}"),
    }
}

fuzz_target!(|data: &[u8]| {
    check(Found::read(data, &|_| false));
    if let Ok(text) = std::str::from_utf8(data) {
        check(parameters::found(text, &|_| false));
        check(parameters::found(text, &|name| name == "init_image"));
        check(comfy::found(text, &|_| false));
    }
});
