use super::*;
use crate::tensor::PlainTensor;
use cel::common::types::{CelInt, CelString};
use cel::common::value::Val;
use proptest::prelude::*;

/// Names from a table: expressions need no run.
struct Table;

impl Resolver for Table {
    fn resolve(&self, name: &str) -> Option<Box<dyn Val>> {
        Some(match name {
            "latents" => {
                let values = PlainTensor::from_values(&[2, 3], vec![0., 1., 2., 3., 4., 5.]).unwrap();
                Box::new(TensorValue::new(values))
            }
            "step" => CowVal::owned(CelInt::from(3)).into_owned(),
            "prompt" => CowVal::owned(CelString::from("a cat".to_string())).into_owned(),
            _ => return None,
        })
    }

    fn tensors(&self) -> Vec<&'static str> {
        vec!["latents"]
    }
}

#[test]
fn names_come_from_any_resolver() {
    let value = |text: &str| Expression::compile(text).unwrap().evaluate(&Table);
    assert!(matches!(value("latents.max"), Ok(Answer::Number(5.))));
    assert!(matches!(value("latents[1,:].mean == 4.0 && prompt == \"a cat\""), Ok(Answer::Bool(true))));
    assert!(matches!(value("latents * 2.0"), Ok(Answer::Tensor(_))));
    assert!(matches!(value("[step, step + 1]"), Ok(Answer::List(text)) if text == "[3, 4]"));
    let missing = value("latnts.max").unwrap_err().to_string();
    assert!(missing.contains("`latnts` is not there; expected one of latents"), "{missing}");
    let list = Expression::compile("[1]").unwrap().holds(&Table).unwrap_err().to_string();
    assert!(list.contains("is a list; expected a condition"), "{list}");
}

#[test]
fn what_is_no_expression_says_so_in_a_line() {
    for text in ["latents.std >", "1 +", ")", "\"", &"(".repeat(500), &"-".repeat(900), &"x".repeat(2000)] {
        let error = Expression::compile(text).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn what_cel_writes_otherwise_is_brought_to_it() {
    for (text, expected) in [
        ("latents[0,2,:].std", "latents[\"0,2,:\"].std"),
        ("embed(\"a[1,2]\")[0, 2..5]", "embed(\"a[1,2]\")[\"0, 2..5\"]"),
        ("x[0][1:2] + [1,2][0]", "x[0][\"1:2\"] + [1,2][0]"),
        ("'it\\'s [1,2]' + x[1,", "'it\\'s [1,2]' + x[1,"),
        ("seed==18446744073709551615&& x", "seed==18446744073709551615u&& x"),
        ("9223372036854775808u + 9223372036854775807", "9223372036854775808u + 9223372036854775807"),
        ("-9223372036854775808 + 15680208700286123456.5", "-9223372036854775808 + 15680208700286123456.5"),
        ("'18446744073709551615' + a18446744073709551615", "'18446744073709551615' + a18446744073709551615"),
        ("18446744073709551616", "18446744073709551616"),
    ] {
        assert_eq!(as_cel(text), expected);
    }
}

#[test]
fn a_function_of_the_run_says_how_it_is_called() {
    let said = |text: &str| Expression::compile(text).unwrap_err().to_string();
    assert!(said("at(3)").contains("at is called as at(STEP, \"TENSOR\")"), "{}", said("at(3)"));
    assert!(said("of(\"main\")").contains(" or of(\"TIMELINE\", STEP"));
    assert!(said("embed()").contains("embed(\"TEXT\")"));
}

proptest! {
    #[test]
    fn no_expression_makes_an_evaluation_panic(
        text in "(latents|step|prompt|norm|cos|lerp|clamp|max_abs|[0-9.]{1,3}|[-+*/<>=!&|?:,. ()\\[\\]]|\\.std|\\[0,:\\]){1,12}",
    ) {
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.evaluate(&Table);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9_.()+*/<>=!&|?:\"' \\[\\]-]{0,120}") {
        let _ = Expression::compile(&text);
    }
}
