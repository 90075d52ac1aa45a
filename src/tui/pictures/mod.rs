//! Pictures in the terminal. Drawing never waits: a picture that is not encoded yet is drawn in half blocks, or
//! replaced by
//! the previous picture in its area, while a thread encodes it.
//!
//! - `graphics`: how the terminal draws; `encoder`: the thread; `blocks`: two pixels per cell.

mod blocks;
mod encoder;
mod graphics;

pub use graphics::{Choice, Graphics, Protocol, dropping_all};

use blocks::Blocks;
use encoder::{Encoder, Job, Key};
use image::RgbImage;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;
use ratatui_image::Image;
use ratatui_image::protocol::Protocol as Drawn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

/// The limit of the cache in bytes.
const ROOM: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// The bytes per pixel of the longest encoding.
const BYTES_PER_PIXEL: usize = 6;

/// Draws pictures, and caches their encodings.
#[derive(Debug)]
pub struct Pictures {
    graphics: Graphics,
    encoder: Option<Encoder>,
    /// The key of each drawn image's pixels.
    known: Vec<(Weak<RgbImage>, u64)>,
    kept: Vec<Kept>,
    /// The pictures of this frame to encode.
    wanted: Vec<Job>,
    /// The picture of each area in the previous frame and in this one.
    before: Vec<(Rect, Key)>,
    now: Vec<(Rect, Key)>,
    frame: u64,
    /// The number of the last picture in kitty's protocol.
    number: u32,
    /// Deletion sequences that are to be sent to the terminal.
    dropped: String,
}

/// A picture, encoded for the terminal.
struct Kept {
    key: Key,
    form: Form,
    /// The last frame in which it was drawn.
    frame: u64,
}

enum Form {
    Blocks(Blocks),
    /// With its number in kitty's protocol.
    Encoded(Protocol, Drawn, u32),
    /// The encoding failed.
    Failed,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        match &self.form {
            Form::Blocks(blocks) => blocks.bytes(),
            Form::Encoded(protocol, ..) => {
                let (w, h) = Graphics::Protocol(*protocol).cell();
                self.key.size.area() as usize * (w * h) as usize * BYTES_PER_PIXEL
            }
            Form::Failed => 0,
        }
    }
}

impl Pictures {
    /// An empty cache.
    pub fn new(graphics: Graphics) -> Self {
        Self::waking(graphics, || {})
    }

    /// An empty cache; another thread calls `wake` when an encoding is ready.
    pub fn waking(graphics: Graphics, wake: impl Fn() + Send + 'static) -> Self {
        Self {
            graphics,
            encoder: matches!(graphics, Graphics::Protocol(_)).then(|| Encoder::start(wake)),
            known: vec![],
            kept: vec![],
            wanted: vec![],
            before: vec![],
            now: vec![],
            frame: 0,
            number: graphics::NUMBERS.0,
            dropped: String::new(),
        }
    }

    /// How the pictures are drawn.
    pub fn graphics(&self) -> &Graphics {
        &self.graphics
    }

    /// Forgets what was sent to the terminal, after a clear or a resize.
    pub fn forget(&mut self) {
        self.graphics = self.graphics.resized();
        for kept in std::mem::take(&mut self.kept) {
            self.drop_from_terminal(&kept);
        }
        self.before.clear();
    }

    /// Takes the deletion sequences of pictures that the cache dropped.
    pub fn take_dropped(&mut self) -> String {
        std::mem::take(&mut self.dropped)
    }

    /// Scales `image` to `area`. A `smooth` picture is interpolated; otherwise each pixel is a tensor's value and keeps
    /// its
    /// edges.
    pub fn draw(&mut self, image: &Arc<RgbImage>, smooth: bool, area: Rect, buf: &mut Buffer) {
        if area.is_empty() || image.width() == 0 || image.height() == 0 {
            return;
        }
        self.take_in();
        let key = Key { pixels: self.pixels(image), smooth, size: area.as_size() };
        match self.graphics {
            Graphics::None => {
                let text = "(no pictures)";
                let text = if usize::from(area.width) < text.len() { "–" } else { text };
                buf.set_stringn(area.x, area.y, text, area.width.into(), Style::new());
            }
            Graphics::HalfBlocks => self.draw_blocks(image, key, area, buf),
            Graphics::Protocol(protocol) => match self.encoded(key) {
                Some(Form::Encoded(..)) => self.draw_encoded(key, area, buf),
                Some(_) => self.draw_blocks(image, key, area, buf),
                None => {
                    self.want(key, image, protocol);
                    match self.before.iter().find(|(place, _)| *place == area).map(|(_, key)| *key) {
                        Some(before) => self.draw_encoded(before, area, buf),
                        None => self.draw_blocks(image, key, area, buf),
                    }
                }
            },
        }
    }

    /// Ends a frame: sends its unencoded pictures to the thread, and drops the least recently drawn pictures beyond the
    /// limit.
    pub fn sweep(&mut self) {
        self.known.retain(|(image, _)| image.strong_count() > 0);
        self.before = std::mem::take(&mut self.now);
        let wanted = std::mem::take(&mut self.wanted);
        if let Some(encoder) = &self.encoder {
            encoder.want(wanted);
        }
        self.kept.sort_by_key(|kept| std::cmp::Reverse(kept.frame));
        let (frame, mut bytes) = (self.frame, 0);
        let mut old = vec![];
        self.kept.retain_mut(|kept| {
            bytes += kept.bytes();
            let stays = kept.frame == frame || bytes <= ROOM;
            if !stays {
                old.push(Kept {
                    key: kept.key,
                    frame,
                    form: std::mem::replace(&mut kept.form, Form::Failed),
                });
            }
            stays
        });
        old.iter().for_each(|kept| self.drop_from_terminal(kept));
        self.frame += 1;
    }

    /// Adds the thread's encodings to the cache.
    fn take_in(&mut self) {
        let Some(encoder) = &self.encoder else { return };
        for done in encoder.done() {
            let form =
                done.drawn.map_or(Form::Failed, |drawn| Form::Encoded(done.protocol, drawn, done.number));
            // An encoding for cells of another size is useless.
            let known =
                self.kept.iter().any(|kept| kept.key == done.key && !matches!(kept.form, Form::Blocks(_)));
            if Graphics::Protocol(done.protocol) == self.graphics && !known {
                self.kept.push(Kept { key: done.key, form, frame: self.frame });
            }
        }
    }

    /// The key of these pixels. An image that is rendered again with equal pixels has the same key.
    fn pixels(&mut self, image: &Arc<RgbImage>) -> u64 {
        let same = |known: &Weak<RgbImage>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(image));
        if let Some((_, pixels)) = self.known.iter().find(|(known, _)| same(known)) {
            return *pixels;
        }
        let mut hasher = DefaultHasher::new();
        image.dimensions().hash(&mut hasher);
        image.as_raw().hash(&mut hasher);
        let pixels = hasher.finish();
        self.known.push((Arc::downgrade(image), pixels));
        pixels
    }

    /// The encoding of a picture.
    fn encoded(&self, key: Key) -> Option<&Form> {
        let forms = self.kept.iter().filter(|kept| kept.key == key).map(|kept| &kept.form);
        forms.into_iter().find(|form| !matches!(form, Form::Blocks(_)))
    }

    fn want(&mut self, key: Key, image: &Arc<RgbImage>, protocol: Protocol) {
        if self.wanted.iter().any(|job| job.key == key) {
            return;
        }
        let (first, last) = graphics::NUMBERS;
        self.number = if self.number >= last { first } else { self.number + 1 };
        self.wanted.push(Job { key, image: Arc::clone(image), protocol, number: self.number });
    }

    fn draw_encoded(&mut self, key: Key, area: Rect, buf: &mut Buffer) {
        let frame = self.frame;
        let mut kept = self.kept.iter_mut();
        let known = kept.find_map(|kept| match &kept.form {
            Form::Encoded(_, drawn, _) if kept.key == key => {
                kept.frame = frame;
                Some(drawn)
            }
            _ => None,
        });
        if let Some(drawn) = known {
            Image::new(drawn).render(area, buf);
            self.now.push((area, key));
        }
    }

    fn draw_blocks(&mut self, image: &RgbImage, key: Key, area: Rect, buf: &mut Buffer) {
        let mut kept = self.kept.iter_mut();
        let known = kept.find_map(|kept| match &kept.form {
            Form::Blocks(blocks) if kept.key == key => {
                kept.frame = self.frame;
                Some(blocks)
            }
            _ => None,
        });
        if let Some(blocks) = known {
            return blocks.draw(area, buf);
        }
        let blocks = Blocks::new(image, key.smooth, key.size);
        blocks.draw(area, buf);
        self.kept.push(Kept { key, form: Form::Blocks(blocks), frame: self.frame });
    }

    fn drop_from_terminal(&mut self, kept: &Kept) {
        if let Form::Encoded(protocol, _, number) = &kept.form {
            self.dropped.push_str(&protocol.dropping(*number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Color;

    fn chequered() -> Arc<RgbImage> {
        Arc::new(RgbImage::from_fn(2, 2, |x, _| image::Rgb([x as u8 * 255; 3])))
    }

    #[test]
    fn pixels_keep_their_edges_and_are_made_once() {
        let mut pictures = Pictures::new(Graphics::HalfBlocks);
        let area = Rect::new(0, 0, 4, 2);
        let mut buf = Buffer::empty(area);
        for _ in 0..3 {
            // Rendered again each time, with equal pixels.
            pictures.draw(&chequered(), false, area, &mut buf);
            pictures.sweep();
            assert_eq!(pictures.kept.len(), 1);
            assert!(pictures.known.is_empty());
        }
        // Nearest neighbour: nothing between black and white.
        let colours: Vec<_> = (0..4).map(|x| buf[(x, 0)].bg).collect();
        let (black, white) = (Color::Rgb(0, 0, 0), Color::Rgb(255, 255, 255));
        assert_eq!(colours, [black, black, white, white]);
    }

    #[test]
    fn half_blocks_until_the_thread_is_done() {
        let mut pictures = Pictures::new(Graphics::kitty());
        let image = chequered();
        let area = Rect::new(0, 0, 4, 2);
        let draw = |pictures: &mut Pictures, image| {
            let mut buf = Buffer::empty(area);
            pictures.draw(image, false, area, &mut buf);
            pictures.sweep();
            buf[(1, 0)].symbol().to_string()
        };
        assert_eq!(draw(&mut pictures, &image), "▀");
        // Returns the encoding as if it had just arrived.
        let done = pictures.encoder.as_ref().unwrap().wait();
        let form = Form::Encoded(done.protocol, done.drawn.unwrap(), done.number);
        pictures.kept.push(Kept { key: done.key, form, frame: 0 });
        assert_eq!(draw(&mut pictures, &image), "\u{10eeee}");
        // Another picture in the same area: the old one remains until the new one is encoded.
        let other = Arc::new(RgbImage::new(2, 2));
        assert_eq!(draw(&mut pictures, &other), "\u{10eeee}");
        pictures.forget();
        assert!(pictures.take_dropped().contains(&format!("a=d,d=I,i={}", done.number)));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut pictures = Pictures::new(Graphics::HalfBlocks);
        let area = Rect::new(0, 0, 100, 50);
        let mut buf = Buffer::empty(area);
        for shade in 0..60 {
            let image = Arc::new(RgbImage::from_pixel(1, 1, image::Rgb([shade; 3])));
            pictures.draw(&image, false, area, &mut buf);
            pictures.sweep();
        }
        assert!(pictures.kept.iter().map(Kept::bytes).sum::<usize>() <= ROOM);
        assert!(pictures.kept.len() < 60);
    }

    #[test]
    fn no_pictures_is_shown() {
        let mut pictures = Pictures::new(Graphics::None);
        let mut buf = Buffer::empty(Rect::new(0, 0, 20, 1));
        pictures.draw(&chequered(), false, buf.area, &mut buf);
        assert_eq!(buf[(1, 0)].symbol(), "n");
    }
}
