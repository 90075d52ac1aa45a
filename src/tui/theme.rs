//! Every colour of the interface: a [`Theme`] names each by its purpose, and no other code makes a [`Style`].

use super::depth::Depth;
use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Serialize};

/// All themes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Light on a terminal that reports a light background, else dark.
    #[default]
    Auto,
    /// Light text on a dark background.
    Dark,
    /// Dark text on a light background.
    Light,
    /// White on black, with high contrast throughout.
    HighContrast,
    /// The terminal's own sixteen colours on its own background.
    Terminal,
}

impl Scheme {
    /// The theme of that name, in the available colours. `Auto` reads `COLORFGBG`, which some terminals set.
    pub fn theme(self, depth: Depth) -> Theme {
        let light = match self {
            Self::Auto => light(std::env::var("COLORFGBG").ok().as_deref()),
            other => other == Self::Light,
        };
        match (depth, self) {
            (Depth::None, _) => Theme::colourless(),
            (_, Self::Terminal) => Theme::default(),
            (Depth::Sixteen, Self::HighContrast) => Theme::new(&HIGH_CONTRAST_OF_SIXTEEN),
            (Depth::Sixteen, _) => Theme::new(if light { &LIGHT_OF_SIXTEEN } else { &DARK_OF_SIXTEEN }),
            (_, Self::HighContrast) => Theme::new(&HIGH_CONTRAST),
            (_, _) => Theme::new(if light { &LIGHT } else { &DARK }),
        }
    }
}

/// Whether this value of `COLORFGBG` means a light background: its last number is white or light gray.
fn light(fgbg: Option<&str>) -> bool {
    fgbg.and_then(|value| value.rsplit(';').next()).is_some_and(|background| matches!(background, "7" | "15"))
}

/// The styles of the interface, by their purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme {
    /// Normal text, and the background of everything.
    pub plain: Style,
    /// The program's name, headings, the names of keys.
    pub strong: Style,
    /// Explanations, and what has not happened yet.
    pub faint: Style,
    /// Emphasized text.
    pub emphasis: Style,
    /// Rules between panes.
    pub rule: Style,
    /// The title of the focused pane.
    pub focus: Style,
    /// The selected row.
    pub selected: Style,
    /// The title bar of a page.
    pub page_title: Style,
    /// The run's position; what is running.
    pub here: Style,
    /// Finished stages.
    pub done: Style,
    /// A breakpoint.
    pub breakpoint: Style,
    /// The name of a tensor.
    pub tensor: Style,
    /// A warning.
    pub warning: Style,
    /// An error.
    pub error: Style,
    /// NaN and infinity.
    pub alarm: Style,
    /// The key of a hint.
    pub key: Style,
    /// The lines of a chart, in turn; each also has its own mark.
    pub series: [Style; 4],
    /// Source code.
    pub code: Code,
}

/// The styles of source code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Keywords.
    pub keyword: Style,
    /// Literals.
    pub literal: Style,
    /// Comments.
    pub comment: Style,
    /// Types.
    pub kind: Style,
    /// Functions.
    pub function: Style,
}

/// The colours of a theme.
struct Palette {
    background: Color,
    /// The background of the selection and of a page's title.
    raised: Color,
    text: Color,
    faint: Color,
    rule: Color,
    blue: Color,
    cyan: Color,
    green: Color,
    yellow: Color,
    red: Color,
    purple: Color,
    /// Text and background of NaN and infinity.
    alarm: [Color; 2],
}

const DARK: Palette = Palette {
    background: Color::from_u32(0x14171c),
    raised: Color::from_u32(0x2f3744),
    text: Color::from_u32(0xd8dee6),
    faint: Color::from_u32(0x8c96a5),
    rule: Color::from_u32(0x5c6675),
    blue: Color::from_u32(0x7fb4ff),
    cyan: Color::from_u32(0x5fd0d6),
    green: Color::from_u32(0x8ccf7e),
    yellow: Color::from_u32(0xe5c76b),
    red: Color::from_u32(0xff8080),
    purple: Color::from_u32(0xcfa2f5),
    alarm: [Color::from_u32(0xffffff), Color::from_u32(0xb3132c)],
};

const LIGHT: Palette = Palette {
    background: Color::from_u32(0xfbfbf8),
    raised: Color::from_u32(0xdde4ee),
    text: Color::from_u32(0x23272e),
    faint: Color::from_u32(0x616873),
    rule: Color::from_u32(0x868d99),
    blue: Color::from_u32(0x0b57b5),
    cyan: Color::from_u32(0x006a75),
    green: Color::from_u32(0x2a6f1e),
    yellow: Color::from_u32(0x7d5700),
    red: Color::from_u32(0xb3132c),
    purple: Color::from_u32(0x7b2fb0),
    alarm: [Color::from_u32(0xffffff), Color::from_u32(0xb3132c)],
};

const HIGH_CONTRAST: Palette = Palette {
    background: Color::from_u32(0x000000),
    raised: Color::from_u32(0x003a70),
    text: Color::from_u32(0xffffff),
    faint: Color::from_u32(0xd0d0d0),
    rule: Color::from_u32(0xa0a0a0),
    blue: Color::from_u32(0x9fcbff),
    cyan: Color::from_u32(0x5ff5ff),
    green: Color::from_u32(0x8cff7a),
    yellow: Color::from_u32(0xffe34d),
    red: Color::from_u32(0xffa0a0),
    purple: Color::from_u32(0xf0b8ff),
    alarm: [Color::from_u32(0x000000), Color::from_u32(0xff6060)],
};

const DARK_OF_SIXTEEN: Palette = Palette {
    background: Color::Black,
    raised: Color::Blue,
    text: Color::White,
    faint: Color::Gray,
    rule: Color::DarkGray,
    blue: Color::LightCyan,
    cyan: Color::LightCyan,
    green: Color::LightGreen,
    yellow: Color::LightYellow,
    red: Color::LightRed,
    purple: Color::LightMagenta,
    alarm: [Color::Black, Color::LightRed],
};

/// Few of the sixteen are readable on white.
const LIGHT_OF_SIXTEEN: Palette = Palette {
    background: Color::White,
    raised: Color::Gray,
    text: Color::Black,
    faint: Color::Black,
    rule: Color::DarkGray,
    blue: Color::Blue,
    cyan: Color::Blue,
    green: Color::Blue,
    yellow: Color::Magenta,
    red: Color::Red,
    purple: Color::Magenta,
    alarm: [Color::White, Color::Red],
};

const HIGH_CONTRAST_OF_SIXTEEN: Palette = Palette {
    faint: Color::White,
    rule: Color::Gray,
    red: Color::LightYellow,
    purple: Color::LightGreen,
    alarm: [Color::Black, Color::LightYellow],
    ..DARK_OF_SIXTEEN
};

impl Theme {
    fn new(palette: &Palette) -> Self {
        let plain = Style::new().fg(palette.text).bg(palette.background);
        let fg = |colour| Style::new().fg(colour);
        let bold = |colour| fg(colour).add_modifier(Modifier::BOLD);
        let on = |text, background| fg(text).bg(background).add_modifier(Modifier::BOLD);
        let [alarm, alarming] = palette.alarm;
        Self {
            plain,
            strong: bold(palette.text),
            faint: fg(palette.faint),
            emphasis: fg(palette.text).add_modifier(Modifier::ITALIC),
            rule: fg(palette.rule),
            focus: bold(palette.cyan),
            selected: on(palette.text, palette.raised),
            page_title: on(palette.text, palette.raised),
            here: bold(palette.cyan),
            done: fg(palette.green),
            breakpoint: fg(palette.red),
            tensor: fg(palette.blue),
            warning: fg(palette.yellow),
            error: bold(palette.red),
            alarm: on(alarm, alarming),
            key: fg(palette.cyan),
            series: [palette.cyan, palette.yellow, palette.purple, palette.green].map(fg),
            code: Code {
                keyword: fg(palette.purple),
                literal: fg(palette.green),
                comment: fg(palette.faint),
                kind: fg(palette.yellow),
                function: fg(palette.blue),
            },
        }
    }

    /// Without colours: bold, and reversed instead of a background.
    fn colourless() -> Self {
        let reversed = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        Self { selected: reversed, page_title: reversed, alarm: reversed, ..Self::default() }
    }

    /// Every style with its name, for tests.
    #[cfg(test)]
    fn all(&self) -> Vec<(&'static str, Style)> {
        let Self { code, series, .. } = self;
        vec![
            ("plain", self.plain),
            ("strong", self.strong),
            ("faint", self.faint),
            ("emphasis", self.emphasis),
            ("rule", self.rule),
            ("focus", self.focus),
            ("selected", self.selected),
            ("page_title", self.page_title),
            ("here", self.here),
            ("done", self.done),
            ("breakpoint", self.breakpoint),
            ("tensor", self.tensor),
            ("warning", self.warning),
            ("error", self.error),
            ("alarm", self.alarm),
            ("key", self.key),
            ("series 0", series[0]),
            ("series 1", series[1]),
            ("series 2", series[2]),
            ("series 3", series[3]),
            ("keyword", code.keyword),
            ("literal", code.literal),
            ("comment", code.comment),
            ("kind", code.kind),
            ("function", code.function),
        ]
    }
}

impl Default for Theme {
    /// The terminal's own sixteen colours, which suit light and dark terminals.
    fn default() -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Self {
            plain,
            strong: bold,
            faint: plain.fg(Color::DarkGray),
            emphasis: plain.add_modifier(Modifier::ITALIC),
            rule: plain.fg(Color::DarkGray),
            focus: bold.fg(Color::Cyan),
            selected: plain.add_modifier(Modifier::REVERSED),
            page_title: plain.add_modifier(Modifier::REVERSED),
            here: bold.fg(Color::Cyan),
            done: plain.fg(Color::Green),
            breakpoint: plain.fg(Color::Red),
            tensor: plain.fg(Color::Cyan),
            warning: plain.fg(Color::Yellow),
            error: plain.fg(Color::LightRed),
            alarm: bold.fg(Color::White).bg(Color::Red),
            key: plain.fg(Color::Cyan),
            series: [Color::Cyan, Color::Yellow, Color::Magenta, Color::Green].map(|c| plain.fg(c)),
            code: Code {
                keyword: plain.fg(Color::Magenta),
                literal: plain.fg(Color::Green),
                comment: plain.fg(Color::DarkGray),
                kind: plain.fg(Color::Yellow),
                function: plain.fg(Color::Blue),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::depth::{Depth, rgb};

    /// The contrast of two colours by WCAG 2.2: 1 for equal colours, 21 for black and white.
    fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
        let luminance = |colour: [u8; 3]| {
            let linear = |c: u8| {
                let c = f64::from(c) / 255.;
                if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_text_can_be_read_on_its_background() {
        for scheme in [Scheme::Dark, Scheme::Light, Scheme::HighContrast] {
            for depth in [Depth::TrueColour, Depth::Indexed, Depth::Sixteen] {
                let theme = scheme.theme(depth);
                for (name, style) in theme.all() {
                    let colour = |of: fn(&Style) -> Option<Color>| {
                        depth.reduced(of(&style).or(of(&theme.plain)).unwrap())
                    };
                    let (text, background) = (rgb(colour(|s| s.fg)).unwrap(), rgb(colour(|s| s.bg)).unwrap());
                    let least = match (name, scheme) {
                        // Not text, and recognizable by its shape.
                        ("rule", _) => 3.,
                        (_, Scheme::HighContrast) => 7.,
                        _ => 4.5,
                    };
                    let found = contrast(text, background);
                    assert!(found >= least, "{name} of {scheme:?} in {depth:?}: {found:.2} of {least}");
                }
            }
        }
    }

    #[test]
    fn a_light_terminal_is_known_by_its_background() {
        assert!(light(Some("0;15")) && light(Some("0;default;7")));
        assert!(!light(Some("15;0")) && !light(Some("")) && !light(None));
    }
}
