use super::*;
use proptest::prelude::*;

fn shown(markdown: &str, columns: usize) -> Vec<String> {
    plain(markdown, &Theme::default(), columns)
        .iter()
        .map(|line| line.to_string().trim_end().into())
        .collect()
}

#[test]
fn paragraphs_lists_and_quotations() {
    let text = "# Head\nOne *two*\n`three`.\n\n1. first\n2. second and\n   more\n   - inner\n\n> said";
    assert_eq!(
        shown(text, 12),
        [
            "Head",
            "",
            "One two",
            "three.",
            "",
            "1. first",
            "2. second",
            "   and more",
            "   • inner",
            "",
            "▎ said"
        ]
    );
}

#[test]
fn a_line_s_end_is_no_space_in_japanese() {
    assert_eq!(shown("ノイズを\n取り除く\nlatents", 40), ["ノイズを取り除く latents"]);
}

#[test]
fn tables_are_fitted() {
    let table = "| stage | makes |\n|---|---|\n| `get_latent` | latents: noise |\n| a | b |";
    assert_eq!(
        shown(table, 40),
        ["stage       makes", "──────────────────────────", "get_latent  latents: noise", "a           b"]
    );
    assert_eq!(
        shown(table, 18),
        ["stage     makes", "──────────────────", "get       latents:", "_latent   noise", "a         b"]
    );
}

#[test]
fn numbers_are_put_in_whatever_they_hold() {
    let text = "It is {{ a }}, **{{ b }}**.";
    let expression = crate::debugger::expr::Expression::compile("1").unwrap();
    let live = |within| crate::lesson::format::Live { within, expression: expression.clone() };
    let prose = Prose { text: text.into(), live: vec![live(6..13), live(17..24)], start: 0 };
    let said = |values: &[Option<Value>]| {
        lines(&prose, values, &Theme::default(), 40).iter().map(Line::to_string).collect::<String>()
    };
    assert_eq!(said(&[Some(Ok("*x* | `".into())), None]), "It is *x* | `, ….");
    assert_eq!(said(&[Some(Err("no".into())), Some(Ok("0.5".into()))]), "It is –, 0.5.");
}

#[test]
fn formulas_and_code_are_set_off() {
    assert_eq!(shown("so\n```math\nx = y\n```\nand", 20), ["so", "", "  x = y", "", "and"]);
    assert_eq!(shown("```rust\nlet a = 1; let b = 2;\n```", 14), ["  let a = 1;", "  let b = 2;"]);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_is_too_wide(
        markdown in "(#|\n|- |1\\. |> |\\||---|`|```|math\n|\\*|[a-zあ。、 ]{0,8}|\\PC){0,60}", columns in 12usize..60
    ) {
        for line in plain(&markdown, &Theme::default(), columns) {
            prop_assert!(line.width() <= columns + 40, "{line:?}");
        }
    }
}
