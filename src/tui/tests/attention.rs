//! The attention view, with synthetic maps: the last digits of the model's maps differ between machines.

use super::recorded::STEPS;
use super::screen::{NARROW, Screen, WIDE, check};
use crate::debugger::inspect::{AttentionRun, Effect as Affected, EffectRun, PointRun};
use crate::debugger::prompt::TokenView;
use crate::debugger::{Event, Examination, InspectQuery, Inspection};
use crate::picture::Picture;
use crate::pipeline::ablation::{Agreement, EffectMap};
use crate::pipeline::attention::{Layer, Split, TokenMaps};
use crate::tui::app::Effect;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};
use image::{Rgb, RgbImage};
use std::sync::Arc;

/// Step 11 is the last.
const DONE: usize = 14;
const SIZE: (usize, usize) = (16, 16);

/// A map with its maximum at `x`, `y`.
fn hill((height, width): (usize, usize), x: f32, y: f32) -> Vec<f32> {
    let at = |i: usize| ((i % width) as f32 / width as f32 - x, (i / width) as f32 / height as f32 - y);
    (0..height * width).map(at).map(|(dx, dy)| 1. / (1. + 20. * (dx * dx + dy * dy))).collect()
}

/// The attention of every pixel to each of `tokens`, which sums to `whole`.
fn maps(size: (usize, usize), tokens: usize, seed: usize, whole: f32) -> TokenMaps {
    let of = |token: usize| {
        let place = |by: usize| ((token * by + seed * 3) % 8) as f32 / 8.;
        let weight = if token < 8 { (1 + token * token % 7) as f32 } else { 0.05 };
        hill(size, place(3), place(5)).into_iter().map(|v| v * weight).collect::<Vec<_>>()
    };
    let planes: Vec<Vec<f32>> = (0..tokens).map(of).collect();
    let pixel = |pixel: usize| {
        let all: f32 = planes.iter().map(|plane| plane[pixel]).sum();
        planes.iter().map(|plane| whole * plane[pixel] / all).collect::<Vec<_>>()
    };
    TokenMaps::from_values(size, tokens, (0..size.0 * size.1).flat_map(pixel).collect()).unwrap()
}

fn layers() -> Vec<Layer> {
    [
        ("down_blocks.1.attentions.0", 4, 8),
        ("mid_block.attentions.0", 8, 4),
        ("up_blocks.1.attentions.1", 4, 8),
    ]
    .map(|(path, heads, side)| Layer {
        path: format!("unet.{path}.transformer_blocks.0.attn2"),
        heads,
        size: (side, side),
    })
    .into()
}

fn answer(asked: &InspectQuery, seed: usize, tokens: &[TokenView]) -> Inspection {
    let run = |layers: Vec<Layer>, maps| {
        let run = AttentionRun {
            steps: vec![11],
            size: SIZE,
            tokens: tokens.into(),
            weights: vec![],
            last_counts: 1,
            layers,
            maps,
        };
        Inspection::Attention(run)
    };
    match asked {
        InspectQuery::Attention(_, Split::Whole) => {
            let whole = AttentionRun {
                steps: vec![11],
                size: SIZE,
                tokens: tokens.into(),
                weights: vec![],
                last_counts: 1,
                layers: layers(),
                maps: vec![maps(SIZE, tokens.len(), seed, 16.)],
            };
            Inspection::Attention(whole.folded())
        }
        InspectQuery::Attention(_, Split::Layers) => {
            let each =
                layers().iter().enumerate().map(|(i, layer)| maps(layer.size, tokens.len(), i, 1.)).collect();
            run(layers(), each)
        }
        InspectQuery::Attention(focus, Split::Heads) => {
            let layer = layers().into_iter().find(|layer| focus.is_in(&layer.path)).unwrap();
            let each = (0..layer.heads).map(|head| maps(layer.size, tokens.len(), head + 2, 1.)).collect();
            run(vec![layer], each)
        }
        InspectQuery::Point((x, y), _) => {
            let map = hill(SIZE, *x as f32 / 16., *y as f32 / 16.);
            Inspection::Point(PointRun { steps: vec![11], size: SIZE, layers: layers(), map })
        }
        InspectQuery::Effect(positions) => {
            let picture = |shade: u8| Picture {
                image: Arc::new(RgbImage::from_fn(16, 16, |x, y| Rgb([shade, 12 * x as u8, 12 * y as u8]))),
                label: "linear estimate".into(),
            };
            let map = EffectMap { size: SIZE, values: hill(SIZE, 0.75, 0.5) };
            let agreement = Agreement { correlation: -0.25, cosine: 0.6, overlap: 0.63 };
            let effect = Affected { name: "pred_original_sample", map, relative: 0.0518, agreement };
            Inspection::Effect(EffectRun {
                step: 11,
                size: SIZE,
                positions: positions.clone(),
                replaced_by: 8,
                by_padding: true,
                attention: hill(SIZE, 0.25, 0.5),
                heads: 32,
                effects: vec![effect],
                pictures: [picture(200), picture(90)],
            })
        }
        other => panic!("{other:?}"),
    }
}

/// The screen after every request of the view was answered.
fn answered(mut screen: Screen) -> Screen {
    let view = screen.viewer.view(&screen.session).unwrap();
    let asked = |screen: &Screen| screen.effects.iter().filter_map(asks).flatten().collect::<Vec<_>>();
    let (mut waiting, mut known) = (asked(&screen), vec![]);
    while let Some(examination) = waiting.pop() {
        if known.contains(&examination) {
            continue;
        }
        let seed = view.records.iter().position(|record| record.id == examination.record).unwrap() / 4;
        let found = answer(&examination.asked, seed, &view.records[0].prompts[0].tokens);
        known.push(examination.clone());
        screen = screen.received(Event::Inspected(examination, Ok(Arc::new(found))));
        waiting.extend(asked(&screen));
    }
    screen
}

fn asks(effect: &Effect) -> Option<Vec<Examination>> {
    match effect {
        Effect::Examine(asked) => Some(asked.clone()),
        _ => None,
    }
}

fn attention(size: (u16, u16), done: usize) -> Screen {
    answered(Screen::after(size, done).pressed(KeyCode::Char('a')))
}

fn keys(screen: Screen, keys: &[KeyCode]) -> Screen {
    let press = |mut screen: Screen, key: &KeyCode| {
        // A pane knows the size of a page only after it is drawn.
        screen.draw();
        answered(screen.pressed(*key))
    };
    keys.iter().fold(screen, press)
}

const V: KeyCode = KeyCode::Char('v');
const L: KeyCode = KeyCode::Char('l');
const X: KeyCode = KeyCode::Char('x');

#[test]
fn attention_as_text() {
    check("attention-start", Screen::after(NARROW, 2).pressed(KeyCode::Char('a')));
    check("attention-waits", Screen::after(NARROW, DONE).pressed(KeyCode::Char('a')));
    for size in [NARROW, WIDE] {
        check("attention", attention(size, DONE));
        check("attention-layers", keys(attention(size, DONE), &[KeyCode::Down, V, L, L]));
        check("attention-point", keys(attention(size, DONE), &[X, KeyCode::Tab]));
    }
    check("attention-heads", keys(attention(NARROW, DONE), &[V, L, L, V, L, L, L]));
    check("attention-padding", keys(attention(WIDE, DONE), &[KeyCode::PageDown]));
    let zoomed = [KeyCode::Tab, KeyCode::Tab, KeyCode::Char('z')];
    check("attention-zoomed", keys(attention(NARROW, DONE), &zoomed));
}

/// The queries of the last request.
fn last_asked(screen: Screen, key: KeyCode) -> (Screen, Vec<InspectQuery>) {
    let screen = screen.pressed(key);
    let asked = screen.effects.iter().filter_map(asks).flatten().map(|one| one.asked).collect();
    (screen, asked)
}

#[test]
fn only_visible_maps_are_computed() {
    let (screen, asked) = last_asked(Screen::after(NARROW, DONE), KeyCode::Char('a'));
    assert!(asked.iter().all(|asked| matches!(asked, InspectQuery::Attention(_, Split::Whole))), "{asked:?}");
    assert_eq!(asked.len(), 12, "the step first, then the others of the strip");
    let (screen, asked) = last_asked(answered(screen), KeyCode::Down);
    assert_eq!(asked, [InspectQuery::Effect(vec![2])]);
    let mut screen = answered(screen);
    screen.draw();
    let (screen, asked) = last_asked(screen, KeyCode::PageDown);
    assert_eq!(asked, [InspectQuery::Effect((8..77).collect())]);
    let (screen, asked) = last_asked(answered(screen), V);
    assert!(matches!(asked[..], [InspectQuery::Attention(_, Split::Layers)]), "{asked:?}");
    let (_, asked) = last_asked(answered(screen), KeyCode::Char('1'));
    assert!(asked.is_empty());
    // Without a step there are no queries.
    assert!(last_asked(Screen::after(NARROW, 2), KeyCode::Char('a')).1.is_empty());
}

#[test]
fn an_error_is_shown() {
    let (mut screen, _) = last_asked(Screen::after(NARROW, DONE), KeyCode::Char('a'));
    for examination in screen.effects.iter().filter_map(asks).flatten().collect::<Vec<_>>() {
        screen =
            screen.received(Event::Inspected(examination, Err("the UNet has no cross-attention".into())));
    }
    assert!(screen.text().contains("the UNet has no"));
}

#[test]
fn the_mouse_chooses_a_token_a_point_and_a_step() {
    let press = MouseEventKind::Down(MouseButton::Left);
    let mut screen = attention(NARROW, DONE);
    let text = screen.text();
    let row = text.lines().position(|line| line.contains("5 blue")).unwrap() as u16;
    screen = answered(screen.mouse(press, (6, row)));
    assert!(screen.text().contains("blue: its effect"));
    screen = answered(screen.mouse(press, (27, 5)));
    assert!(screen.text().contains("self-attention of "), "{}", screen.text());
    screen = keys(screen, &[KeyCode::Esc]);
    assert!(screen.text().contains("blue: attended to by"));
    let text = screen.text();
    let row = text.lines().position(|line| line.contains("▸11")).unwrap() as u16;
    screen = screen.mouse(press, (2, row));
    assert!(screen.effects.iter().any(|effect| matches!(effect, Effect::Look(_))), "{:?}", screen.effects);
}

/// Any key, also before there are results and after the last step.
#[test]
fn no_key_makes_it_panic() {
    let all = [
        V,
        L,
        X,
        KeyCode::Char('h'),
        KeyCode::Up,
        KeyCode::Left,
        KeyCode::PageDown,
        KeyCode::Tab,
        KeyCode::Esc,
    ];
    for done in [0, 2, 3, DONE, STEPS + 3] {
        let mut waiting = Screen::after(NARROW, done).pressed(KeyCode::Char('a'));
        let mut known = attention((60, 16), done);
        for i in 0..200 {
            let key = all[(i * i + i / 7) % all.len()];
            waiting = waiting.pressed(key);
            known = answered(known.pressed(key));
            if i % 20 == 0 {
                drop((waiting.text(), known.text()));
            }
        }
    }
}
