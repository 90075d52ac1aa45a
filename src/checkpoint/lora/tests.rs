use super::*;
use std::fs;

#[test]
fn what_follows_the_last_colon_is_a_scale() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("a"), "").unwrap();
    fs::write(path("b:2"), "").unwrap();
    let (a, b) = (path("a"), path("b:2"));
    for (text, expected) in [
        (a.clone(), (a.as_str(), None)),
        (format!("{a}:0.5"), (a.as_str(), Some("0.5"))),
        (format!("{a}:-1e-3"), (a.as_str(), Some("-1e-3"))),
        (format!("{a}:"), (a.as_str(), Some(""))),
        (format!("{a}:x"), (a.as_str(), Some("x"))),
        (b.clone(), (b.as_str(), None)),
        (format!("{b}:2"), (b.as_str(), Some("2"))),
        ("missing:0.5".into(), ("missing", Some("0.5"))),
        (r"c:\missing".into(), (r"c:\missing", None)),
        (String::new(), ("", None)),
    ] {
        assert_eq!(split(&text), expected, "{text}");
    }
    for text in ["nan", "inf", "-inf", "", "1,5", "1e999"] {
        assert_eq!(scale_of(text), None, "{text}");
    }
}

#[test]
fn a_name_is_one_word() {
    for (stem, name) in
        [("add_detail-v1.5", "add_detail-v1.5"), ("my lora (2)", "my_lora__2_"), ("ü,x", "ü_x"), ("", "lora")]
    {
        assert_eq!(name_of(stem), name);
    }
}
