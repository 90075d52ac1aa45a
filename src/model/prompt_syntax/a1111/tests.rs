use super::*;
use crate::model::prompt_syntax::Lora;

fn pieces(text: &str) -> Vec<(String, f64)> {
    let piece = |piece| match piece {
        Piece::Text(text, weight) => (text, weight),
        Piece::Break => (BREAK.into(), BREAK_WEIGHT),
        other => panic!("{other:?}"),
    };
    parse(text, Side::Prompt).unwrap().pieces.into_iter().map(piece).collect()
}

fn refused(text: &str) -> String {
    parse(text, Side::Prompt).unwrap_err().to_string()
}

#[test]
fn brackets_and_weights() {
    #[rustfmt::skip]
    let cases: [(&str, &[(&str, f64)]); 38] = [
        ("", &[("", 1.)]),
        ("a cat", &[("a cat", 1.)]),
        ("a (cat) sat", &[("a ", 1.), ("cat", UP), (" sat", 1.)]),
        ("((cat))", &[("cat", UP * UP)]),
        ("[cat]", &[("cat", DOWN)]),
        ("[[cat]]", &[("cat", DOWN * DOWN)]),
        ("(cat:1.2)", &[("cat", 1.2)]),
        ("(cat: 1.2 )", &[("cat", 1.2)]),
        ("(cat:+.5)", &[("cat", 0.5)]),
        ("(cat:-1)dog", &[("cat", -1.), ("dog", 1.)]),
        ("(cat:1.)", &[("cat", 1.)]),
        // Brackets in brackets multiply.
        ("(a (cat:1.5) b:0.5)", &[("a ", 0.5), ("cat", 1.5 * 0.5), (" b", 0.5)]),
        ("([cat])", &[("cat", DOWN * UP)]),
        // A bracket that is never closed reaches to the end; one that is never opened is text.
        ("a (cat", &[("a ", 1.), ("cat", UP)]),
        ("a [cat", &[("a ", 1.), ("cat", DOWN)]),
        ("((cat)", &[("cat", UP * UP)]),
        ("a cat)", &[("a cat)", 1.)]),
        ("a cat]", &[("a cat]", 1.)]),
        ("cat:1.2) b", &[("cat:1.2) b", 1.)]),
        ("(cat]", &[("cat]", UP)]),
        // Kinds of brackets do not wait for one another.
        ("(a [b) c]", &[("a ", UP), ("b", UP * DOWN), (" c", DOWN)]),
        (r"\(cat\)", &[("(cat)", 1.)]),
        (r"\[cat\]", &[("[cat]", 1.)]),
        (r"a \\ b", &[(r"a \ b", 1.)]),
        // Another backslash is left out.
        (r"a \b", &[("a b", 1.)]),
        (r"a\", &[("a", 1.)]),
        (r"(a \(b\):1.3)", &[("a (b)", 1.3)]),
        ("()", &[("", 1.)]),
        ("(:1.2)", &[("", 1.)]),
        ("(a:b)", &[("a:b", UP)]),
        // A number with an exponent is none, and NaN is a word.
        ("(a:1e9)", &[("a:1e9", UP)]),
        ("(a:nan)", &[("a:nan", UP)]),
        ("(one)(two)", &[("onetwo", UP)]),
        ("a BREAK b", &[("a", 1.), (BREAK, -1.), ("b", 1.)]),
        ("BREAK", &[("", 1.), (BREAK, -1.), ("", 1.)]),
        ("a BREAKS b", &[("a BREAKS b", 1.)]),
        ("a # not this\nb", &[("a \nb", 1.)]),
        ("a cat :1.0", &[("a cat", 1.)]),
    ];
    for (text, expected) in cases {
        let expected: Vec<(String, f64)> =
            expected.iter().map(|(text, weight)| (text.to_string(), *weight)).collect();
        let made = pieces(text);
        assert_eq!(made.len(), expected.len(), "{text}: {made:?}");
        for (made, expected) in made.iter().zip(&expected) {
            assert_eq!(made.0, expected.0, "{text}");
            assert!((made.1 - expected.1).abs() < 1e-12, "{text}: {made:?}, {expected:?}");
        }
    }
}

/// The example that A1111's parser is documented with.
#[test]
fn the_web_interfaces_own_example() {
    let weights = pieces("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).");
    let weights: Vec<(&str, f64)> =
        weights.iter().map(|(text, weight)| (text.as_str(), (weight * 1e4).round() / 1e4)).collect();
    let expected = [
        ("a ", 1.),
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1.),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641),
        (".", 1.1),
    ];
    assert_eq!(weights, expected);
}

#[test]
fn break_in_brackets_is_a_word() {
    let parsed = parse("(a BREAK b)", Side::Prompt).unwrap();
    assert_eq!(parsed.pieces.len(), 3);
    assert!(matches!(&parsed.pieces[1], Piece::Text(text, weight) if text == BREAK && *weight == -UP));
    assert!(parsed.warnings[0].contains("BREAK inside brackets"), "{:?}", parsed.warnings);
    assert!(parse("a BREAK b", Side::Prompt).unwrap().warnings.is_empty());
}

#[test]
fn loras_are_taken_out_of_the_text() {
    let parsed = parse("a <lora:style one:0.8> cat<lora:b>, <3 and <a> <lyco:c:-1>", Side::Prompt).unwrap();
    let lora = |name: &str, scale| Lora { name: name.into(), scale };
    assert_eq!(parsed.loras, [lora("style one", 0.8), lora("b", 1.), lora("c", -1.)]);
    assert_eq!(parsed.pieces, [Piece::Text("a  cat, <3 and <a> ".into(), 1.)]);
    let negative = parse("ugly <lora:a:1>", Side::Negative).unwrap();
    assert_eq!((negative.loras.len(), negative.warnings.len()), (0, 1));
    assert_eq!(
        refused("a <hypernet:x:1>"),
        "`<hypernet:x:1>` is an extra network of the kind `hypernet`, which diffuscope does not have; expected \
         <lora:NAME> or <lora:NAME:SCALE>"
    );
    assert_eq!(
        refused("<lora:a:big>"),
        "the weight of `<lora:a:big>` is big; expected a number from -1000 to 1000"
    );
    assert!(refused("<lora:a:1:0.5>").contains("a scale for the UNet alone"));
    assert!(refused("<lora:a:te=1>").contains("the weight of"));
}

#[test]
fn what_changes_during_a_run_is_refused_by_name() {
    for piece in ["[cat:dog:0.5]", "[cat:10]", "[cat::3]", "[(cat:1.2):[a]: 0.5 ]", "[cat|dog]", "[a:b|c]"] {
        let said = refused(&format!("an (old) {piece} here"));
        assert!(said.starts_with(&format!("`{piece}` ")), "{said}");
        assert!(parse(&format!("a {piece}"), Side::Negative).is_err(), "{piece}");
    }
    for text in [
        "[cat:dog]",
        "[a:b:c:0.5]",
        r"\[cat:dog:0.5\]",
        r"[cat:dog:0.5\]",
        "a | b",
        "(a|b)",
        "[a:b",
        "[a (b:0.5]",
        "a:0.5]",
    ] {
        assert!(parse(text, Side::Negative).is_ok(), "{text}");
    }
    assert!(refused("a cat AND a dog :1.2").starts_with("`AND a dog :1.2` combines several prompts"));
    assert!(refused("a cat :1.5").starts_with("`:1.5` at the end of the prompt"));
    // Neither means anything in a negative prompt.
    assert!(parse("a cat AND a dog :1.2", Side::Negative).is_ok());
    for text in ["BAND", "a and b", "time 10:30 here", "(cat:1.2)", "a cat:x"] {
        assert!(parse(text, Side::Prompt).is_ok(), "{text}");
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    assert_eq!(refused("(a:1.2.3)"), "the weight of `a` is 1.2.3; expected a number from -1000 to 1000");
    assert_eq!(refused("(a:.)"), "the weight of `a` is .; expected a number from -1000 to 1000");
}
