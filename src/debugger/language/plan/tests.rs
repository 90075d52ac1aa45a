use super::*;
use proptest::prelude::*;

fn values(text: &str) -> Vec<Vec<String>> {
    Plan::parse(text).unwrap().axes.into_iter().map(|axis| axis.values).collect()
}

fn words(text: &[&str]) -> Vec<Vec<String>> {
    let words: Vec<String> = text.iter().map(|word| word.to_string()).collect();
    Plan::of_words(&words).unwrap().axes.into_iter().map(|axis| axis.values).collect()
}

#[test]
fn axes_of_every_kind() {
    assert_eq!(values("guidance_scale 1,3,7.5, 15"), [["1", "3", "7.5", "15"]]);
    assert_eq!(values("seed -1-2, 9"), [["-1", "0", "1", "2", "9"]]);
    assert_eq!(values("num_inference_steps 5,10"), [["5", "10"]]);
    assert_eq!(values("prompt \"a cat\" | a dog"), [["a cat", "a dog"]]);
    assert_eq!(values("prompt \"two | by seed 3\" | \"\""), [["two | by seed 3", ""]]);
    assert_eq!(values("word apple: pear | orange"), [["apple", "pear", "orange"]]);
    assert_eq!(values("guidance_scale 1,7.5 by seed 1-3"), [vec!["1", "7.5"], vec!["1", "2", "3"]]);
    assert!(Plan::parse("guidance_scale 1,3 here").unwrap().here);
    assert_eq!(words(&["prompt", "a cat", "a dog by seed"]), [["a cat", "a dog by seed"]]);
    assert_eq!(words(&["word", "apple:", "pear", "orange"]), [["apple", "pear", "orange"]]);
    assert_eq!(words(&["seed", "1-2", "5", "by", "eta", "0,1"]), [vec!["1", "2", "5"], vec!["0", "1"]]);
}

#[test]
fn what_is_wrong_is_said() {
    let said = |text: &str| Plan::parse(text).unwrap_err();
    assert!(said("").contains("nothing named") || said("").contains("cannot be compared"));
    assert!(said("sampler ddim").contains("`sampler` cannot be compared: expected one of prompt"));
    assert!(said("guidance_scale 1,high").contains("guidance_scale cannot be `high`"));
    assert!(said("guidance_scale").contains("no values"));
    assert!(said("seed 1-100").contains("too many values"));
    assert!(said("seed 1-10 by guidance_scale 1,2,3,4,5,6,7").contains("70 variants; at most 64"));
    assert!(said("seed 5-2").contains("expected `2-5`"));
    assert!(said("word pear | apple").contains("a colon"));
    assert!(said("seed 1 by seed 2").contains("both axes are seed"));
    assert!(said("seed 1 by eta 0 by width 64").contains("3 axes"));
}

#[test]
fn a_word_is_swapped_where_it_is_one() {
    assert_eq!(
        swapped("an apple, pineapple and apple", "apple", "pear"),
        ("an pear, pineapple and pear".into(), true)
    );
    assert_eq!(swapped("a cat", "dog", "cow"), ("a cat".into(), false));
    assert_eq!(swapped("赤い りんご", "りんご", "なし"), ("赤い なし".into(), true));
}

proptest! {
    #[test]
    fn no_plan_makes_it_panic(text in "\\PC{0,60}") {
        let _ = Plan::parse(&text);
    }

    #[test]
    fn no_words_make_it_panic(text in "(prompt|seed|word|guidance_scale|by|here|\\||\"|[0-9,: .-]{0,5}| ){0,12}") {
        let _ = Plan::parse(&text);
        let words: Vec<String> = text.split(' ').map(String::from).collect();
        let _ = Plan::of_words(&words);
    }
}
