//! The real binary, run as a user runs it.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// What a run of the program left.
pub struct Ran {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

/// Runs `diffuscope ARGS` with `stdin`, no terminal anywhere, and backtraces asked for: none may be seen.
pub fn diffuscope(args: &[&str], stdin: &str) -> Ran {
    run(command(args), stdin)
}

/// `diffuscope ARGS`, not started yet.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diffuscope"));
    command.args(args).env("RUST_BACKTRACE", "1");
    command
}

/// Runs `command` with `stdin` and no terminal anywhere.
pub fn run(mut command: Command, stdin: impl AsRef<[u8]>) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // A program that fails early does not read its input: that is no error of the test's.
    let _ = input.write_all(stdin.as_ref());
    drop(input);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a batch of commands, `args` beside; each object that it printed. It must succeed.
pub fn batch(args: &[&str], commands: &str) -> Vec<Value> {
    let ran = diffuscope(&[&["debug", "--batch", "-x", "-", "--json"], args].concat(), commands);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line that a command of a batch said.
pub fn said(outcome: &Value, line: usize) -> String {
    outcome["messages"][line].as_str().unwrap().to_string()
}
