//! Every number against diffusers' and transformers' own, from `tests/fixtures/`.

mod clip_skip;
mod embeddings;
mod inside;
mod models;
mod prompt_syntax;
mod random;
mod run;
mod scheduler;
mod schedulers;
mod tokens;
