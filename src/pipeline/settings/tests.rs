use super::*;
use crate::pipeline::{Fault, InitImage, Seed};
use proptest::prelude::*;

/// A setting of every run, and a family: the runs with a prompt have the members `eta` and `strength`.
const WITH_FAMILY: &[Entry] = &[
    Entry {
        name: "seed",
        field: Field::Seed(Access { get: |r, _| r.seed, set: |r, _, seed| r.seed = seed }),
        ..OF_RUN
    },
    Entry {
        name: "scheduler.*",
        members: |r| if r.prompt.is_empty() { vec![] } else { vec!["eta".into(), "strength".into()] },
        field: Field::Number(
            Access {
                get: |r, member| if member == "eta" { r.eta } else { r.strength },
                set: |r, member, x| if member == "eta" { r.eta = x } else { r.strength = x },
            },
            "a number",
        ),
        ..OF_STAGES
    },
];

fn request() -> Request {
    Request { prompt: "a \"red\" apple".into(), ..Request::default() }
}

#[test]
fn a_family_has_the_members_of_the_run() {
    let names = |request: &Request| {
        let of = Setting::of_in(WITH_FAMILY, request);
        of.iter().map(|setting| setting.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&Request::default()), ["seed"]);
    assert_eq!(names(&request()), ["seed", "scheduler.eta", "scheduler.strength"]);

    let eta = Setting::find_in(WITH_FAMILY, "scheduler.eta").unwrap();
    let mut changed = request();
    eta.set("0.5", &mut changed).unwrap();
    assert_eq!((changed.eta, eta.get(&changed)), (0.5, Value::Number(0.5)));
    assert_eq!(
        eta.set("high", &mut changed).unwrap_err(),
        "scheduler.eta cannot be `high`; expected a number"
    );
    // The name parses without a run; only the run knows that it has no such member.
    let none = Setting::find_in(WITH_FAMILY, "scheduler.x").unwrap();
    let error = none.set("1", &mut changed).unwrap_err();
    assert_eq!(error, "scheduler.x is no setting of this run; expected eta, strength");
    assert!(none.check("1").is_ok());
    for name in ["scheduler", "scheduler.", "lora.x"] {
        assert!(Setting::find_in(WITH_FAMILY, name).is_none(), "{name}");
    }
}

#[test]
fn the_table_has_what_a_request_has_in_json() {
    let started = Request {
        init_image: Some(InitImage::open("sample:cat").unwrap()),
        fault: Some(Fault::parse("nan_in latents").unwrap()),
        ..request()
    };
    let mut trailing = request();
    Setting::find("scheduler.timestep_spacing").unwrap().set("trailing", &mut trailing).unwrap();
    assert!(Setting::of(&trailing).iter().any(|setting| setting.name() == "scheduler.timestep_spacing"));
    for request in [request(), started, trailing] {
        let serde_json::Value::Object(json) = serde_json::to_value(&request).unwrap() else { panic!() };
        for setting in Setting::of(&request) {
            let expected = match setting.name().strip_prefix("scheduler.") {
                Some(argument) => json["scheduler"][argument].clone(),
                // The scheduler's JSON is its whole configuration.
                None if setting.name() == "scheduler" => request.scheduler.name().into(),
                None => json.get(setting.name()).cloned().unwrap_or_default(),
            };
            assert_eq!(setting.get(&request).json(), expected, "{setting}");
        }
        let is_known = |name: &&String| Setting::find(name).is_some();
        assert_eq!(json.keys().filter(is_known).count(), json.len());
    }
}

#[test]
fn every_name_and_flag_is_one_settings() {
    for setting in Setting::all() {
        let same = |other: &Setting| other.entry.name == setting.entry.name;
        assert_eq!(Setting::all().filter(same).count(), 1, "{setting}");
        for flag in setting.entry.flags {
            let has = |other: &Setting| other.entry.flags.contains(flag);
            assert_eq!(Setting::all().filter(has).count(), 1, "{flag}");
        }
        assert!(
            !setting.entry.summary.is_empty() && setting.entry.summary.english().chars().count() <= 46,
            "{setting}"
        );
        let is_flag = !setting.entry.flags.is_empty();
        assert!(!is_flag || !setting.entry.help.is_empty() && !setting.entry.value.is_empty(), "{setting}");
    }
}

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    let wrong = |name: &str, text: &str| Setting::find(name).unwrap().check(text).unwrap_err();
    assert_eq!(wrong("width", "wide"), "width cannot be `wide`; expected a number of pixels");
    assert_eq!(wrong("eta", ""), "eta cannot be ``; expected a number from 0 to 1");
    assert!(wrong("seed", "1.5").starts_with("seed cannot be `1.5`; expected a whole number from"));
    assert!(wrong("init_image", "sample:moon").starts_with("init_image: "));
    assert!(wrong("fault", "x").starts_with("fault cannot be `x`; expected one of no_scaling_factor"));
}

#[test]
fn values_that_can_be_typed_are_values() {
    for setting in Setting::all() {
        for (value, _) in setting.values().into_iter().filter(|(value, _)| value != "nan_in") {
            let mut request = request();
            setting.set(&value, &mut request).unwrap();
            assert_eq!(setting.get(&request).to_string(), value);
        }
    }
}

proptest! {
    #[test]
    fn a_shown_value_is_parsed_again(
        texts in any::<[String; 2]>(), counts in any::<[u32; 3]>(), numbers in any::<[f64; 3]>(), seed in Seed::MIN..=Seed::MAX,
    ) {
        let [prompt, negative_prompt] = texts;
        let [height, width, num_inference_steps] = counts.map(|count| count as usize);
        let [guidance_scale, eta, strength] = numbers;
        let seed = Seed::try_from(seed).unwrap();
        let request = Request {
            prompt, negative_prompt, height, width, num_inference_steps, guidance_scale, seed, eta, strength, ..Request::default()
        };
        for setting in Setting::of(&request) {
            let (mut typed, mut copied) = (Request::default(), Request::default());
            setting.set(&setting.get(&request).to_string(), &mut typed).unwrap();
            setting.copy(&request, &mut copied).unwrap();
            // NaN is not equal to itself, and is written alike.
            prop_assert_eq!(setting.get(&typed).to_string(), setting.get(&request).to_string());
            prop_assert_eq!(setting.get(&copied).to_string(), setting.get(&request).to_string());
        }
    }

    #[test]
    fn no_text_makes_it_panic(name in "[a-z_.]{0,20}", text in "\\PC{0,20}") {
        for setting in Setting::all().chain(Setting::find(&name)) {
            let _ = setting.check(&text);
        }
    }
}
