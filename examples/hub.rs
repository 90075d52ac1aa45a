//! The small hub of the tests, for programs that are none of ours: `cargo run --release --example hub -- FOLDER` serves the files of
//! a folder as `you/mini`, and as `you/twin` with Xet hashes, on loopback. It prints its address, and for each line on its stdin how
//! often a file's content was fetched so far. It ends with its stdin. `tools/hub/check.py` is for whom it is made.

#[path = "../tests/program/hub_server.rs"]
#[allow(dead_code, reason = "what the tests use to make it misbehave")]
mod hub;

use hub::{Hub, files_of};
use std::io::{self, BufRead};
use std::path::Path;

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("no folder given; usage: hub FOLDER"));
    };
    let hub = Hub::start(files_of(Path::new(&folder)), |_, reply| reply);
    println!("{}", hub.endpoint());
    for line in io::stdin().lock().lines() {
        line?;
        println!(
            "{}",
            hub.seen()
                .iter()
                .filter(|request| request.method == "GET" && request.path.contains("/content/"))
                .count()
        );
    }
    Ok(())
}
