//! Hooks for every module and every stage line.
//!
//! Progress, interruption, stepping, sharing between runs in lockstep, and faults are all probes; none of them puts an `if`
//! into a model or a stage.

use super::error::Result;
use candle_core::Tensor;
use std::fmt;
use std::sync::Arc;

/// The path of a module or stage line: a module by its diffusers path (`unet.down_blocks.0.attentions.1`), or a line of a
/// stage (`denoise.scheduler_step`). Cheap to clone; made once, when the module is loaded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Arc<str>);

impl Path {
    /// A path from its text.
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// This path with one more name: `unet` and `mid_block` give `unet.mid_block`. From the empty path, the name.
    pub fn join(&self, name: impl fmt::Display) -> Self {
        if self.0.is_empty() { Self(name.to_string().into()) } else { Self(format!("{self}.{name}").into()) }
    }

    /// The path's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Observes a computation: every module and every stage line passes through it.
///
/// A path that the probe does not [`want`](Probe::wants) costs one call. `enter` may wait (a breakpoint) or fail (an
/// interruption), `intercept` may supply the output, and `exit` may read the output or replace it.
pub trait Probe {
    /// Whether [`enter`](Probe::enter), [`intercept`](Probe::intercept) and [`exit`](Probe::exit) are called for the module or
    /// stage line at `path`.
    fn wants(&self, path: &Path) -> bool;

    /// Called before the module or stage line runs, with its inputs.
    ///
    /// # Errors
    /// Any error ends the computation here.
    fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
        let _ = (path, inputs);
        Ok(())
    }

    /// Called after `enter`. If it returns an output, that is used and the module or stage line does not run.
    ///
    /// # Errors
    /// Any error ends the computation here.
    fn intercept(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<Option<Tensor>> {
        let _ = (path, inputs);
        Ok(None)
    }

    /// Called with the output of the module or stage line. The tensor that it returns is used instead.
    ///
    /// # Errors
    /// Any error ends the computation here.
    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        let _ = path;
        Ok(output)
    }
}

/// The probe that wants nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Probe for Unwatched {
    fn wants(&self, _: &Path) -> bool {
        false
    }
}

/// Records the outputs of the modules and stage lines for which `filter` is true, in the order of completion.
#[derive(Debug)]
pub struct Recorder<F> {
    filter: F,
    /// The recorded outputs, each with its path.
    pub seen: Vec<(Path, Tensor)>,
}

impl<F: Fn(&Path) -> bool> Recorder<F> {
    /// Records the modules and stage lines for which `filter` is true.
    pub fn new(filter: F) -> Self {
        Self { filter, seen: vec![] }
    }
}

impl<F: Fn(&Path) -> bool> Probe for Recorder<F> {
    fn wants(&self, path: &Path) -> bool {
        (self.filter)(path)
    }

    fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
        self.seen.push((path.clone(), output.clone()));
        Ok(output)
    }
}

/// Runs the module or stage line at `path` between [`Probe::enter`] and [`Probe::exit`], or alone if `probe` does not want it.
///
/// # Errors
/// Those of `run` and of the probe.
pub fn watch(
    probe: &mut dyn Probe,
    path: &Path,
    inputs: &[&Tensor],
    run: impl FnOnce(&mut dyn Probe) -> Result<Tensor>,
) -> Result<Tensor> {
    if !probe.wants(path) {
        return run(probe);
    }
    probe.enter(path, inputs)?;
    let output = match probe.intercept(path, inputs)? {
        Some(output) => output,
        None => run(probe)?,
    };
    probe.exit(path, output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Wants one path, logs its calls, and doubles the output.
    struct Doubling(&'static str, Vec<String>);

    impl Probe for Doubling {
        fn wants(&self, path: &Path) -> bool {
            path.as_str() == self.0
        }
        fn enter(&mut self, path: &Path, inputs: &[&Tensor]) -> Result<()> {
            self.1.push(format!("enter {path} with {}", inputs.len()));
            Ok(())
        }
        fn exit(&mut self, path: &Path, output: Tensor) -> Result<Tensor> {
            self.1.push(format!("exit {path}"));
            Ok((output * 2.)?)
        }
    }

    #[test]
    fn only_wanted_paths_are_entered_and_exited() {
        let one = Tensor::new(1f32, &Device::Cpu).unwrap();
        let mut probe = Doubling("unet.conv_in", vec![]);
        let run = |probe: &mut Doubling, path: &str| {
            let out = watch(probe, &Path::new(path), &[&one], |_| Ok((&one + 1.)?)).unwrap();
            out.to_scalar::<f32>().unwrap()
        };
        assert_eq!(run(&mut probe, "unet.conv_out"), 2.);
        assert_eq!(run(&mut probe, "unet.conv_in"), 4.);
        assert_eq!(probe.1, ["enter unet.conv_in with 1", "exit unet.conv_in"]);
    }

    #[test]
    fn an_intercepted_module_does_not_run() {
        struct Supplying(Tensor);
        impl Probe for Supplying {
            fn wants(&self, _: &Path) -> bool {
                true
            }
            fn intercept(&mut self, path: &Path, _: &[&Tensor]) -> Result<Option<Tensor>> {
                Ok((path.as_str() == "denoise.unet").then(|| self.0.clone()))
            }
        }
        let mut probe = Supplying(Tensor::new(7f32, &Device::Cpu).unwrap());
        let mut ran = vec![];
        for path in ["denoise.unet", "denoise.guidance"] {
            watch(&mut probe, &Path::new(path), &[], |_| {
                ran.push(path);
                Ok(Tensor::new(1f32, &Device::Cpu)?)
            })
            .unwrap();
        }
        assert_eq!(ran, ["denoise.guidance"]);
    }

    #[test]
    fn paths_join_with_dots() {
        assert_eq!(Path::new("unet").join("down_blocks").join(0).as_str(), "unet.down_blocks.0");
        assert_eq!(Path::new("").join("unet").as_str(), "unet");
    }
}
