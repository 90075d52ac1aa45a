//! The interface without a terminal: its screens as text, and whatever comes in.

mod random;
mod recorded;
mod screen;
mod screens;
mod source;
