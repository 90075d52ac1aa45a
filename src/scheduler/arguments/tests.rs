use super::*;
use crate::scheduler::class::{SHORT_NAMES, ShortName};
use crate::scheduler::config::{SolverType, TimestepSpacing};

#[test]
fn every_default_is_a_value() {
    for argument in ARGUMENTS {
        for of in argument.of {
            for class in of.classes {
                let mut config = SchedulerConfig::defaults(*class);
                argument.assign(of, &default(of), &mut config).unwrap();
                assert_eq!(argument.value(&config), Some(default(of)), "{} of {class:?}", argument.name);
                for (_, in_place) in of.aliases {
                    assert!(of.supported.contains(in_place));
                }
            }
        }
    }
}

/// The tables of docs/schedulers.md; with `DIFFUSCOPE_WRITE=1` they are written.
#[test]
fn the_page_has_every_name_and_argument() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schedulers.md");
    let mut page = std::fs::read_to_string(file).unwrap();
    for (mark, table) in [("<!-- names -->\n", names()), ("<!-- arguments -->\n", arguments())] {
        let start = page.find(mark).unwrap() + mark.len();
        let end = start + page[start..].find("<!-- end -->").unwrap();
        if std::env::var_os("DIFFUSCOPE_WRITE").is_some() {
            page.replace_range(start..end, &table);
        } else {
            assert_eq!(&page[start..end], table, "{mark}");
        }
    }
    if std::env::var_os("DIFFUSCOPE_WRITE").is_some() {
        std::fs::write(file, page).unwrap();
    }
}

fn names() -> String {
    let row = |short: &ShortName| {
        let comfy = if short.comfy.is_empty() { String::new() } else { format!("`{}`", short.comfy) };
        let (name, class, sampler, summary) = (short.name, short.class.name(), short.sampler, short.summary);
        format!("| `{name}` | `{class}` | {sampler} | {comfy} | {summary} |\n")
    };
    let head = "| name | class of diffusers | in AUTOMATIC1111's format | in ComfyUI | what it is |\n|---|---|---|---|---|\n";
    SHORT_NAMES.iter().fold(head.to_string(), |table, short| table + &row(short))
}

fn arguments() -> String {
    let mut table =
        "| argument | classes | default | supported values | what it is |\n|---|---|---|---|---|\n"
            .to_string();
    for argument in ARGUMENTS {
        for of in argument.of {
            let classes: Vec<_> =
                of.classes.iter().map(|class| class.name().trim_end_matches("Scheduler")).collect();
            let classes = if classes.len() == Class::ALL.len() { "all".into() } else { classes.join(", ") };
            let code = |values: &[&str]| {
                values
                    .iter()
                    .map(|value| format!("`{}`", value.trim_matches('"')))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let supported = match (of.supported, argument.field) {
                ([], Some(_)) => "any".into(),
                ([], None) => "any, without effect".into(),
                ([one], None) => format!("{}; others are refused", code(&[one])),
                (values, _) => code(values),
            };
            let aliases = of
                .aliases
                .iter()
                .map(|(found, in_place)| format!("; {} is {}", code(&[found]), code(&[in_place])));
            let supported = supported + &aliases.collect::<String>();
            let (name, default, summary) = (argument.name, code(&[of.default]), argument.summary);
            table += &format!("| `{name}` | {classes} | {default} | {supported} | {summary} |\n");
        }
    }
    table
}

#[test]
fn a_class_has_an_argument_once() {
    for (name, class) in Class::ALL {
        let mut names: Vec<_> = ARGUMENTS
            .iter()
            .filter(|argument| argument.of_class(*class).is_some())
            .map(|argument| argument.name)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{name}");
    }
}

#[test]
fn a_value_is_set_as_it_is_written() {
    let config = SchedulerConfig::defaults(Class::DpmSolverMultistep);
    assert!(config.with("use_karras_sigmas", "true").unwrap().use_karras_sigmas);
    let trailing = config.with("timestep_spacing", "trailing").unwrap();
    assert_eq!(trailing.timestep_spacing, TimestepSpacing::Trailing);
    assert_eq!(config.with("solver_type", "bh2").unwrap().solver_type, SolverType::Midpoint);
    let wrong = |name, text| config.with(name, text).unwrap_err();
    assert_eq!(
        wrong("timestep_spacing", "even"),
        r#"timestep_spacing cannot be `even`; expected one of "leading", "trailing", "linspace""#
    );
    assert_eq!(wrong("solver_order", "4"), "solver_order cannot be `4`; expected one of 1, 2, 3");
    assert!(
        wrong("skip_prk_steps", "true").starts_with("DPMSolverMultistepScheduler has no `skip_prk_steps`")
    );
    assert!(wrong("algorithm_type", "dpmsolver").contains("\"sigma_min\" with algorithm_type dpmsolver"));
}
