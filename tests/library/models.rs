//! The models that most tests run, loaded once for all of them.

use crate::support::checkpoint::checkpoint;
use candle_core::{DType, Device};
use diffuscope::checkpoint::ModelSource;
use diffuscope::debugger::Backend;
use diffuscope::pipeline::Models;
use std::sync::{Arc, LazyLock};

/// A backend of [`BUNDLED`].
pub static BACKEND: LazyLock<Backend> = LazyLock::new(|| Arc::clone(&BUNDLED).into());

/// The bundled model.
pub static BUNDLED: LazyLock<Arc<Models>> =
    LazyLock::new(|| Arc::new(Models::load(ModelSource::Bundled, Device::Cpu, DType::F32).unwrap()));

/// The miniature `sd2`, which predicts v.
pub static SD2: LazyLock<Arc<Models>> =
    LazyLock::new(|| Arc::new(Models::load(checkpoint("sd2").source(), Device::Cpu, DType::F32).unwrap()));
