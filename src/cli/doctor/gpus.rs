//! NVIDIA GPUs as listed by `nvidia-smi`, which works in builds without CUDA too.

use crate::pipeline::memory::human;
use serde_json::{Value, json};
use std::fmt;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tr::tr;

/// The driver's report.
#[derive(Debug, Default)]
pub struct Seen {
    /// The driver's version.
    pub driver: Option<String>,
    /// The newest CUDA version that it supports.
    pub cuda: Option<String>,
    /// The GPUs.
    pub gpus: Vec<Gpu>,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    index: usize,
    name: String,
    /// Total and free memory in bytes.
    memory: Option<(u64, u64)>,
    compute_capability: String,
}

/// The time limit for the driver. One that hangs counts as absent.
const TIMEOUT: Duration = Duration::from_secs(10);
const QUERY: &str = "--query-gpu=index,name,memory.total,memory.free,driver_version,compute_cap";

impl Seen {
    /// Queries the driver.
    pub fn by_driver() -> Self {
        let listed = smi(&[QUERY, "--format=csv,noheader,nounits"]).unwrap_or_default();
        let mut seen = parse(&listed);
        if seen.driver.is_some() {
            seen.cuda = smi(&[]).as_deref().and_then(newest_cuda);
        } else if let Ok(version) = std::fs::read_to_string("/proc/driver/nvidia/version") {
            // The tool is not installed: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue …`.
            seen.driver = version
                .split_whitespace()
                .find(|word| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok()))
                .map(Into::into);
        }
        seen
    }
}

/// The output of `nvidia-smi`; `None` if it is missing, fails or hangs.
fn smi(args: &[&str]) -> Option<String> {
    let mut command = Command::new("nvidia-smi");
    command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if begun.elapsed() > TIMEOUT => {
                // A process that hangs in the driver may survive this.
                let _ = child.kill();
                return None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut text = String::new();
    child.stdout.take()?.take(1 << 20).read_to_string(&mut text).ok()?;
    status.success().then_some(text)
}

/// Parses the output of [`QUERY`]. Invalid lines are left out.
pub fn parse(listed: &str) -> Seen {
    let mut seen = Seen::default();
    for line in listed.lines() {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [index, name, total, free, driver, capability] = fields[..] else { continue };
        let Ok(index) = index.parse() else { continue };
        let bytes = |mebibytes: &str| mebibytes.parse::<u64>().ok()?.checked_mul(1 << 20);
        seen.driver = Some(driver.into());
        seen.gpus.push(Gpu {
            index,
            name: name.into(),
            memory: bytes(total).zip(bytes(free)),
            compute_capability: capability.into(),
        });
    }
    seen
}

/// `CUDA Version: 12.4` in the header of `nvidia-smi`.
fn newest_cuda(printed: &str) -> Option<String> {
    let (_, version) = printed.split_once("CUDA Version:")?;
    version
        .split_whitespace()
        .next()
        .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        .map(Into::into)
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuda:{} {}", self.index, self.name)?;
        if let Some((total, free)) = self.memory {
            f.write_str(&tr!(", {} of which {} are free", human(total.into()), human(free.into())))?;
        }
        f.write_str(&tr!(", compute capability {}", self.compute_capability))
    }
}

impl Gpu {
    /// The GPU as JSON.
    pub fn as_json(&self) -> Value {
        json!({
            "device": format!("cuda:{}", self.index),
            "name": self.name,
            "memory": self.memory.map(|(total, _)| total),
            "free": self.memory.map(|(_, free)| free),
            "compute_capability": self.compute_capability,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_list_is_parsed() {
        let seen = parse(
            "0, NVIDIA A100-SXM4-40GB, 40960, 40445, 550.54.15, 8.0\n1, NVIDIA GB10, [N/A], [N/A], 550.54.15, 12.1\nnonsense\n",
        );
        assert_eq!(seen.driver.as_deref(), Some("550.54.15"));
        assert_eq!(seen.gpus.len(), 2);
        assert_eq!(seen.gpus[0].memory, Some((40960 << 20, 40445 << 20)));
        assert_eq!(seen.gpus[1].to_string(), "cuda:1 NVIDIA GB10, compute capability 12.1");
        assert!(parse("No devices were found").gpus.is_empty());
        assert!(parse("0, A, 99999999999999999999, 1, 5, 8").gpus[0].memory.is_none());
    }

    #[test]
    fn the_newest_cuda_is_found() {
        let head = "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |";
        assert_eq!(newest_cuda(head).as_deref(), Some("12.4"));
        assert_eq!(newest_cuda("CUDA Version: N/A"), None);
        assert_eq!(newest_cuda(""), None);
    }
}
