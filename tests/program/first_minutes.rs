//! The first three minutes of a newcomer, key by key, in a pseudo-terminal. Each key is one that the screen names before.
#![cfg(unix)]

use super::terminal::Session;

#[test]
fn the_first_three_minutes() {
    let mut session = Session::start(&["--steps", "4", "--prompt", "red apple on a blue background"]);
    // What to press, and why the model is called that.
    session.see("n runs a stage, c all of them, b goes back; ? explains");
    session.see("v-prediction");
    session.see("predicts v, noise and picture mixed");
    session.press("n");
    session.see("encode_prompt done");
    session.press("n");
    session.see("after get_latent: the latents that the run begins with");
    session.press("n");
    session.see("after denoise 0: latents, expected picture, residuals");
    session.see("; guided");
    // What is this? Other letters do nothing in the page, and it is searched.
    session.press("?");
    session.see("This view: overview");
    session.see("What did the last finished stage make?");
    session.press("Re");
    session.press("/v-prediction\r");
    session.see("/v-prediction:");
    session.press("\x1b");
    // Esc and the next key must not arrive as one.
    session.see("Help: / searches");
    session.press("?");
    session.see("after denoise 0");
    session.press("3");
    session.see("× as far as the pair");
    session.press("?");
    session.see("This view: residuals");
    session.see("v = √ᾱ·noise − √(1−ᾱ)·x₀");
    session.press("q");
    session.see("residuals of denoise 0");
    session.press("v");
    session.see("one scale for all four");
    session.press("1c");
    session.see("the run is complete");
    session.see("after vae_decode: the finished picture");
    session.press("v");
    session.see("timemap");
    session.press("v");
    // Another value at an earlier step, and back.
    session.press(":goto denoise 1\r");
    session.see("▶ denoise 1");
    session.press(":set gui\t\t12\r");
    session.see("guidance 12");
    session.press(":undo\r");
    session.see("undone: `set guidance_scale 12`");
    session.see("guidance 7.5");
    session.press("c");
    session.see("the run is complete");
    session.press("R");
    session.see("0 of 7 done");
    session.press("U");
    session.see("undone: `restart`");
    session.see("7 of 7 done");
    session.press("q");
    assert_eq!(session.end(), 0);
}

#[test]
fn two_pasted_lines_are_two_commands() {
    let mut session = Session::start(&["--steps", "3"]);
    session.see("Nothing has run yet");
    session.press(":");
    session.see("Tab complete");
    session.press("\x1b[200~break denoise 1\nnext\n\x1b[201~");
    session.see("●denoise 1");
    session.see("encode_prompt done");
    session.press("q");
    assert_eq!(session.end(), 0);
}
