//! The real program in a real pseudo-terminal: what a reader sees and presses, and what is left of it afterwards.
#![cfg(unix)]

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SIZE: PtySize = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
/// Longer than any machine takes: only a screen that never comes is an error.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program with a terminal around it.
pub struct Session {
    master: Box<dyn MasterPty + Send>,
    /// Held open so that the terminal's modes outlive the program.
    _slave: Box<dyn SlavePty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    _reader: JoinHandle<()>,
    modes: String,
}

impl Session {
    pub fn start(args: &[&str]) -> Self {
        // A terminal of which nothing is known.
        Self::start_on("xterm-256color", args)
    }

    fn start_on(terminal: &str, args: &[&str]) -> Self {
        Self::start_with(terminal, &[], args)
    }

    fn start_with(terminal: &str, variables: &[(&str, &str)], args: &[&str]) -> Self {
        let pty = native_pty_system().openpty(SIZE).unwrap();
        let modes = format!("{:?}", pty.master.get_termios());
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_diffuscope"));
        command.args(args);
        command.env_clear();
        command.env("TERM", terminal);
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let child = pty.slave.spawn_command(command).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(SIZE.rows, SIZE.cols, 0)));
        let shared = Arc::clone(&screen);
        let mut output = pty.master.try_clone_reader().unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shared.lock().unwrap().process(&bytes[..count]);
            }
        });
        let keys = pty.master.take_writer().unwrap();
        Self { master: pty.master, _slave: pty.slave, child, keys, screen, _reader: reader, modes }
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as `there` says.
    #[track_caller]
    fn wait(&mut self, what: &str, there: impl Fn(&vt100::Screen) -> bool) {
        let start = Instant::now();
        while !there(self.screen.lock().unwrap().screen()) {
            assert!(start.elapsed() < PATIENCE, "never came: {what}\n{}", self.contents());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn see(&mut self, text: &str) {
        self.wait(text, |screen| screen.contents().contains(text));
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, name: &str) {
        let id = self.child.process_id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the program's end; the terminal must then be as it was. Gives the exit code.
    #[track_caller]
    pub fn end(&mut self) -> u32 {
        let code = self.child.wait().unwrap().exit_code();
        // The last bytes may still be on their way.
        self.wait("the shell's screen", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        let screen = self.screen.lock().unwrap();
        assert!(!screen.screen().bracketed_paste());
        assert_eq!(screen.screen().mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        drop(screen);
        assert_eq!(format!("{:?}", self.master.get_termios()), self.modes);
        code
    }
}

#[test]
fn a_walk_there_and_back() {
    let mut session = Session::start(&["--steps", "2", "--prompt", "red apple on a blue background"]);
    session.see("Nothing has run yet");
    assert!(session.screen.lock().unwrap().screen().alternate_screen());
    session.press("n");
    session.see("encode_prompt done");
    session.press("n");
    session.see("get_latent done");
    session.see("▀");
    session.press("n");
    session.see("denoise 0 done");
    session.see("alpha_prod_t_prev");
    session.press("c");
    session.see("the run is complete");
    session.see("decoded by the VAE");
    session.press("b");
    session.see("1 recorded ahead");
    session.press("\x1b[D");
    session.see("3 done, 2 ahead");
    session.press("\x1b[F");
    session.see("5 of 5 done");
    for (key, there) in
        [("2", "spread"), ("6", "std of latents"), ("7", "the run is complete"), ("1", "5 of 5 done")]
    {
        session.press(key);
        session.see(there);
    }
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn commands_are_typed_and_answered() {
    let mut session = Session::start(&["--steps", "3"]);
    session.see("Nothing has run yet");
    session.press(":break denoise 1\r");
    session.see("●denoise 1");
    session.press("c");
    session.see("stopped at breakpoint 1");
    session.press(":print latents.std > 0.0\r");
    session.see("true");
    session.press(":walk\r");
    session.see("`walk` is no command");
    session.press("?");
    session.see("This view: overview");
    session.press("\x1b[F");
    session.see("drawn with half blocks");
    session.press(":quit\r");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_terminal_that_changes_its_size() {
    let mut session = Session::start(&["--steps", "1"]);
    session.see("Nothing has run yet");
    session.press("cc");
    session.see("the run is complete");
    for (rows, cols) in [(3, 9), (60, 200), (12, 40), (24, 80)] {
        session.screen.lock().unwrap().screen_mut().set_size(rows, cols);
        session.master.resize(PtySize { rows, cols, ..SIZE }).unwrap();
        session.see(if rows < 16 { "small" } else { "diffuscope · pocket" });
    }
    session.press("\x03\x03");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_terminal_that_promises_pictures_and_answers_nothing() {
    let mut session = Session::start_on("xterm-kitty", &["--steps", "1"]);
    session.press("n");
    session.see("encode_prompt done");
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_model_that_is_not_there() {
    let mut session = Session::start(&["--model", "no/such/folder"]);
    assert_eq!(session.end(), 1);
    session.see("error: no/such/folder");
}

#[test]
fn requests_to_end() {
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let mut session = Session::start(&["--steps", "1"]);
        session.see("Nothing has run yet");
        session.signal(name);
        assert_eq!(session.end(), 128 + number);
        session.see(&format!("ended by signal {number}"));
    }
}

#[test]
fn stopped_and_gone_on_with() {
    for by_key in [true, false] {
        let mut session = Session::start(&["--steps", "1"]);
        session.see("Nothing has run yet");
        if by_key {
            session.press("\x1a")
        } else {
            session.signal("TSTP")
        }
        session.wait("the shell's screen", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        // It gives the screen back before it stops: what comes in between does not wake it.
        let start = Instant::now();
        while !session.screen.lock().unwrap().screen().alternate_screen() {
            assert!(start.elapsed() < PATIENCE, "never came back");
            session.signal("CONT");
            std::thread::sleep(Duration::from_millis(100));
        }
        session.see("Nothing has run yet");
        session.press("n");
        session.see("encode_prompt done");
        session.press("q");
        assert_eq!(session.end(), 0);
    }
}

#[test]
fn the_mouse() {
    let mut session = Session::start(&["--steps", "1"]);
    session.see("Nothing has run yet");
    session.wait("the mouse", |screen| screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None);
    let contents = session.contents();
    let (row, line) = contents.lines().enumerate().find(|(_, line)| line.contains("7 source")).unwrap();
    let column = line.find("7 source").unwrap();
    session.press(&format!("\x1b[<0;{};{}M\x1b[<0;{0};{1}m", column + 1, row + 1));
    session.see("[7 source]");
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn stepping_through_a_stage_line_by_line() {
    let mut session = Session::start(&["--steps", "1"]);
    session.see("Nothing has run yet");
    session.press("nn7s");
    session.see("▶ is next");
    session.see("lines::UNET");
    session.press("n");
    session.see("denoise 0 › guidance");
    session.press("f");
    session.see("denoise 0 done");
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn into_the_unet_and_a_breakpoint_in_its_middle() {
    let mut session = Session::start(&["--steps", "2", "--prompt", "red apple"]);
    session.see("Nothing has run yet");
    session.press(":goto denoise 0\r");
    session.see("next: denoise 0");
    session.press("7s");
    session.see("denoise 0 › unet (");
    session.press("s");
    session.see("denoise 0 › unet › time_proj");
    session.see("input: t = ");
    session.press(":break unet.mid_block\r");
    session.see("breakpoint 1 at unet.mid_block");
    session.press("c");
    session.see("stopped at breakpoint 1 at unet.mid_block");
    session.see("UNet2DConditionModel::forward");
    session.press("s");
    session.see("mid_block › resnets.0");
    session.press("f");
    session.see("denoise 0 › unet › up_blocks.0");
    // Left: what the stage did so far is dropped.
    session.press("b");
    session.see("left the stage");
    session.press(":delete\r");
    session.see("1 breakpoint deleted");
    session.press("n");
    session.see("denoise 0 done");
    // Where a word is attended to, and its effect.
    session.press("aj");
    session.see("apple: attended to by");
    session.see("correlation");
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_breakpoint_on_a_condition_and_a_resize_while_it_computes() {
    let mut session = Session::start(&["--steps", "30"]);
    session.see("Nothing has run yet");
    session.press(":break denoise if step == 4\rc");
    for (rows, cols) in [(24, 80), (50, 160), (16, 60), (30, 100)] {
        session.screen.lock().unwrap().screen_mut().set_size(rows, cols);
        session.master.resize(PtySize { rows, cols, ..SIZE }).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    session.see("stopped at breakpoint 1");
    session.see("▶●denoise 4");
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn variants_side_by_side_and_one_of_them_opened() {
    let mut session = Session::start(&["--steps", "3"]);
    session.see("Nothing has run yet");
    session.press(":compare guidance_scale 1,7.5\r");
    session.see("2 variants of guidance_scale");
    session.press("c");
    session.see("all runs are complete");
    session.see("10 of 12");
    session.press("l\r");
    session.see("on guidance_scale=7.5 · pocket");
    session.press("bb:set guidance_scale 3\r");
    session.see("branched off guidance_scale=7.5 before denoise 2");
    session.press("8");
    session.see("4 timelines");
    session.press("q");
    assert_eq!(session.end(), 0);
}

/// The variable that has the program panic when it is told to.
const PANICKING: [(&str, &str); 1] = [("DIFFUSCOPE_OBEY_PANICS", "1")];

#[test]
fn a_fault_in_a_command_leaves_the_interface() {
    let mut session = Session::start_with("xterm-256color", &PANICKING, &["--steps", "1"]);
    session.see("Nothing has run yet");
    session.press("n");
    session.see("encode_prompt done");
    session.press(":panic worker\r");
    session.see("a panic was asked for");
    session.see("`restart` begins again");
    session.press(":restart\r");
    session.see("Nothing has run yet");
    session.press("n");
    session.see("encode_prompt done");
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_fault_in_drawing_gives_the_terminal_back() {
    let mut session = Session::start_with("xterm-256color", &PANICKING, &["--steps", "1"]);
    session.see("Nothing has run yet");
    session.press(":panic drawing\r");
    assert_ne!(session.end(), 0);
    session.see("a test requested a panic");
}

#[test]
fn settings_of_the_reader() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("diffuscope");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), "theme = \"light\"\nmouse = false\n[keys]\nx = \"next 2\"\n")
        .unwrap();
    let home = home.path().to_str().unwrap().to_string();
    let with =
        [("XDG_CONFIG_HOME", home.as_str()), ("XDG_STATE_HOME", home.as_str()), ("HOME", home.as_str())];
    let mut session = Session::start_with("xterm-256color", &with, &["--steps", "1"]);
    session.see("Nothing has run yet");
    session.press("x");
    session.see("get_latent done");
    session.press(":print latents.nan\r");
    session.wait("the answer", |screen| screen.contents().lines().any(|line| line.trim() == "0"));
    session.press("q");
    assert_eq!(session.end(), 0);
    // What was typed is there in the next run.
    let history = std::fs::read_to_string(folder.join("history")).unwrap();
    assert_eq!(history, "print latents.nan\n");
    let mut session = Session::start_with("xterm-256color", &with, &["--steps", "1"]);
    session.see("Nothing has run yet");
    session.press(":\x1b[A");
    session.see(":print latents.nan");
    session.press("\x1b");
    session.wait("the console closed", |screen| !screen.contents().contains(":print latents.nan"));
    session.press("q");
    assert_eq!(session.end(), 0);
    // A file that is wrong is told before anything is loaded.
    std::fs::write(folder.join("config.toml"), "theme = \"pink\"").unwrap();
    let mut session = Session::start_with("xterm-256color", &with, &[]);
    assert_eq!(session.end(), 1);
    session.see("unknown variant `pink`");
}

/// A lesson of three parts.
const LESSON: &str = "\
---
title: A short lesson
summary: Only for a test.
minutes: 1
settings:
  prompt: red apple on a blue background
  num_inference_steps: 2
---

The run has {{ num_inference_steps }} steps.

```predict
How large are the latents?
- an eighth | latents.shape[2] * 8 == height
- [ ] as large
One latent stands for eight by eight pixels.
```

```dbg
next 2
print latents.std
```

```expect
latents.std > 0.5
```

Their standard deviation is {{ latents.shape[1] }} times nothing.

```try
Go to the end.
expect: stage == \"complete\"
hint: `continue` goes there.
solution: continue
```

That is all.
";

#[test]
fn a_lesson_is_read_survives_a_crash_and_is_done() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("short.md");
    std::fs::write(&file, LESSON).unwrap();
    let (home, file) = (home.path().to_str().unwrap(), file.to_str().unwrap());
    let with = [("XDG_STATE_HOME", home), ("XDG_CONFIG_HOME", home), ("HOME", home)];
    let start = || Session::start_with("xterm-256color", &with, &["lesson", "run", file]);
    let mut session = start();
    session.see("The run has 2 steps.");
    session.see("part 1 of 3");
    // Nothing runs before the question is answered.
    session.press("\rx");
    session.press("a");
    session.see("part 2 of 3");
    session.press("\r");
    session.see("get_latent done");
    // The second line is typed.
    session.press(":p latents.std\r");
    session.see("✓ latents.std > 0.5");
    session.see("✓ a");
    session.see("is 4 times nothing");
    session.see("part 3 of 3");
    session.press("h");
    session.see("1. continue goes there.");
    session.press(":save latents l.safetensors\r");
    session.see("a lesson does not write files");
    session.signal("KILL");
    assert_ne!(session.child.wait().unwrap().exit_code(), 0);

    // It goes on where it was, with what was answered.
    let mut session = start();
    session.see("part 3 of 3");
    session.see("is 4 times nothing");
    session.see("✓ a");
    session.press("c");
    session.see("the run is complete");
    session.see("The lesson is done");
    session.press("q");
    assert_eq!(session.end(), 0);
    let kept = std::fs::read_to_string(format!("{home}/diffuscope/lessons.json")).unwrap();
    assert!(kept.contains("\"finished\": true") && kept.contains("short.md"), "{kept}");
}

#[test]
fn how_far_a_reader_is_stands_in_the_list() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let with = [("XDG_STATE_HOME", home), ("XDG_CONFIG_HOME", home), ("HOME", home)];
    let said = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_diffuscope"));
        let output = command.arg("lesson").args(args).envs(with).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (out, err)
    };
    let (listed, _) = said(&[]);
    let name = listed.split_whitespace().next().unwrap().to_string();
    assert!(listed.lines().next().unwrap().ends_with("not begun"), "{listed}");
    let mut session = Session::start_with("xterm-256color", &with, &["lesson", "run", &name]);
    session.see("part 1 of");
    // Whatever the first part wants, one of these is it; what is out of sight is gone to first.
    let wanted = [("press a,", "a"), ("Enter runs", "x"), ("x runs the solution", "x")];
    let wants = |screen: &str| wanted.iter().find(|(wants, _)| screen.contains(wants)).map(|(_, key)| *key);
    let begun = Instant::now();
    while wants(&session.contents()).is_none() {
        assert!(begun.elapsed() < PATIENCE, "it wants nothing:\n{}", session.contents());
        session.press("\x1b[6~");
        std::thread::sleep(Duration::from_millis(100));
    }
    let key = wants(&session.contents()).unwrap();
    session.press(key);
    session.see("part 2 of");
    session.press("q");
    assert_eq!(session.end(), 0);
    assert!(said(&[]).0.lines().next().unwrap().contains(" · part "), "{}", said(&[]).0);
    // A file of another version is told, and what it holds is not lost.
    let file = format!("{home}/diffuscope/lessons.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replace("\"version\": 1", "\"version\": 7")).unwrap();
    let (listed, told) = said(&[]);
    assert!(told.contains("version 7") && listed.contains("not begun"), "{told}");
    std::fs::write(&file, kept).unwrap();
    assert_eq!(said(&["reset", &name]).0, format!("{name} starts from the beginning\n"));
    assert_eq!(said(&["reset", &name]).0, format!("{name} was not begun\n"));
    assert!(said(&["reset", "no-such-lesson"]).1.contains(&name));
    assert_eq!(said(&["reset"]).0, "0 lessons start from the beginning\n");
}
