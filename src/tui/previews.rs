//! A cache of pictures that the VAE decoded, limited in size.

use crate::debugger::record::{NamedPicture, RecordId};
use std::collections::VecDeque;

/// The limit in bytes of pixels: 64 pictures of 512×512.
const ROOM: usize = 64 * 512 * 512 * 3;

/// Decoded pictures by record and tensor. The oldest are dropped first.
#[derive(Debug, Default)]
pub struct Previews {
    known: VecDeque<(RecordId, NamedPicture)>,
}

impl Previews {
    /// Adds a picture.
    pub fn put(&mut self, record: RecordId, picture: NamedPicture) {
        self.known.retain(|(known, kept)| (*known, kept.name) != (record, picture.name));
        self.known.push_back((record, picture));
        while self.bytes() > ROOM && self.known.len() > 1 {
            self.known.pop_front();
        }
    }

    /// The picture of a record's tensor `name`.
    pub fn get(&self, record: RecordId, name: &str) -> Option<&NamedPicture> {
        let mut known = self.known.iter();
        known.find(|(known, kept)| *known == record && kept.name == name).map(|(_, kept)| kept)
    }

    fn bytes(&self) -> usize {
        self.known.iter().map(|(_, kept)| kept.picture.image.as_raw().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Picture;
    use image::RgbImage;
    use std::sync::Arc;

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let picture = || Picture { image: Arc::new(RgbImage::new(512, 512)), label: String::new() };
        let mut previews = Previews::default();
        for id in 0..70 {
            previews.put(RecordId(id), NamedPicture { name: "latents", picture: picture() });
        }
        assert!(previews.get(RecordId(5), "latents").is_none());
        assert!(previews.get(RecordId(6), "latents").is_some());
        assert!(previews.bytes() <= ROOM);
    }
}
