//! An expression, compiled and evaluated on a run of the bundled model that has made a step.
#![no_main]

use candle_core::{DType, Device};
use diffuscope::debugger::session::Session;
use diffuscope::debugger::expr::Expression;
use diffuscope::checkpoint::ModelSource;
use diffuscope::nn::Unwatched;
use diffuscope::pipeline::{Models, Request};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

thread_local! {
    static SESSION: Session = {
        let models = Arc::new(Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap());
        let request = Request { height: 16, width: 16, ..Request::for_models(&models, "a red apple") };
        let mut session = Session::new(models, request).unwrap();
        session.run_line("next 3", &mut Unwatched).unwrap();
        session
    };
}

fuzz_target!(|text: &str| {
    match Expression::compile(text) {
        Ok(expression) => SESSION.with(|session| {
            if let Err(e) = expression.evaluate(&session.here()) {
                assert!(!e.to_string().is_empty());
            }
        }),
        Err(e) => assert!(!e.to_string().is_empty()),
    }
});
