//! The encoder thread, so that drawing never waits for an encoding.

use super::graphics::Protocol;
use image::RgbImage;
use image::imageops::{self, FilterType};
use ratatui::layout::Size;
use ratatui_image::protocol::Protocol as Drawn;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A picture's key: its pixels, whether it is interpolated, and its size in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) pixels: u64,
    pub(super) smooth: bool,
    pub(super) size: Size,
}

/// A picture to encode.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) image: Arc<RgbImage>,
    pub(super) protocol: Protocol,
    pub(super) number: u32,
}

/// An encoded picture; `drawn` is `None` if the encoding failed.
pub(super) struct Done {
    pub(super) key: Key,
    pub(super) protocol: Protocol,
    pub(super) number: u32,
    pub(super) drawn: Option<Drawn>,
}

/// A handle of the thread. Dropping it ends the thread after the current picture.
#[derive(Debug)]
pub(super) struct Encoder {
    desk: Arc<Desk>,
    done: Receiver<Done>,
}

/// The waiting pictures, in order; `None` ends the thread.
#[derive(Debug)]
struct Desk {
    jobs: Mutex<Option<Vec<Job>>>,
    news: Condvar,
}

impl Desk {
    fn jobs(&self) -> MutexGuard<'_, Option<Vec<Job>>> {
        // A panic of another holder cannot leave the list half changed.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Encoder {
    /// Starts the thread. It calls `wake` when a picture is ready.
    pub(super) fn start(wake: impl Fn() + Send + 'static) -> Self {
        let desk = Arc::new(Desk { jobs: Mutex::new(Some(vec![])), news: Condvar::new() });
        let (results, done) = channel();
        let shared = Arc::clone(&desk);
        std::thread::spawn(move || work(&shared, &results, &wake));
        Self { desk, done }
    }

    /// Sets the pictures to encode, replacing those that wait.
    pub(super) fn want(&self, wanted: Vec<Job>) {
        if let Some(jobs) = self.desk.jobs().as_mut() {
            *jobs = wanted;
        }
        self.desk.news.notify_one();
    }

    /// The pictures encoded since the last call.
    pub(super) fn done(&self) -> impl Iterator<Item = Done> {
        self.done.try_iter()
    }

    /// Waits for the next picture.
    #[cfg(test)]
    pub(super) fn wait(&self) -> Done {
        self.done.recv().unwrap()
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        *self.desk.jobs() = None;
        self.desk.news.notify_one();
    }
}

fn work(desk: &Desk, results: &Sender<Done>, wake: &dyn Fn()) {
    loop {
        let mut jobs = desk.jobs();
        let job = loop {
            match jobs.as_mut() {
                None => return,
                Some(list) if list.is_empty() => {
                    jobs = desk.news.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                }
                Some(list) => break list.remove(0),
            }
        };
        drop(jobs);
        let Job { key, image, protocol, number } = job;
        let drawn = protocol.encode(scaled(&image, key, protocol), key.size, number);
        if results.send(Done { key, protocol, number, drawn }).is_err() {
            return;
        }
        wake();
    }
}

/// `image`, scaled to the pixels of its cells.
fn scaled(image: &RgbImage, key: Key, protocol: Protocol) -> RgbImage {
    let (w, h) = super::Graphics::Protocol(protocol).cell();
    let (width, height) = (u32::from(key.size.width) * w, u32::from(key.size.height) * h);
    let filter = match (image.width() < width, key.smooth) {
        (true, false) => FilterType::Nearest,
        (true, true) => FilterType::CatmullRom,
        (false, _) => FilterType::Triangle,
    };
    imageops::resize(image, width, height, filter)
}
