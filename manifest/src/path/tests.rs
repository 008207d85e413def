use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn identity(group: &str, version: &str, resource: &str, namespace: &str, name: &str) -> Identity {
    Identity {
        group: group.into(),
        version: version.into(),
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

#[test]
fn follows_the_api_path() {
    let config = identity("", "v1", "configmaps", "lab", "app-config");
    assert_eq!(
        file_path("clusters/prod", &config),
        "clusters/prod/v1/configmaps/lab/app-config.yaml"
    );
    assert_eq!(file_path("", &config), "v1/configmaps/lab/app-config.yaml");
    let role = identity(
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        "",
        "system:Node",
    );
    assert_eq!(
        file_path("a", &role),
        "a/rbac.authorization.k8s.io/v1/clusterroles/system%3A%4Eode.yaml"
    );
}

#[test]
fn directories_lead_to_the_files() {
    assert_eq!(group_directory("base", ""), "base");
    assert_eq!(group_directory("", ""), "");
    assert_eq!(group_directory("", "apps"), "apps");
    assert_eq!(type_directory("", "", "v1", "configmaps"), "v1/configmaps");
    assert_eq!(
        type_directory("b", "apps", "v1", "deployments"),
        "b/apps/v1/deployments"
    );
    assert_eq!(group_directory("b", "v1"), "b/%761");
}

#[test]
fn escapes_what_a_file_system_can_not_hold() {
    for (name, segment) in [
        ("a.b-c_1", "a.b-c_1"),
        ("100%", "100%25"),
        ("a:b", "a%3Ab"),
        ("A", "%41"),
        (".git", "%2Egit"),
        ("..", "%2E%2E"),
        ("a.", "a%2E"),
        ("a ", "a%20"),
        ("git~1", "git%7E1"),
        ("é", "%C3%A9"),
        ("con", "%63on"),
        ("nul.tar.gz", "%6Eul.tar.gz"),
        ("com1", "%63om1"),
        ("lpt0.x", "%6Cpt0.x"),
        ("com10", "com10"),
        ("console", "console"),
        ("kustomization", "%6Bustomization"),
        ("cloudbuild", "%63loudbuild"),
        ("cloudbuild-1", "cloudbuild-1"),
        ("a.yaml", "a%2Eyaml"),
        ("", "%"),
    ] {
        assert_eq!(encode_segment(name), segment, "{name:?}");
        assert!(
            is_manifest_file_name(&format!("{segment}.yaml")),
            "{segment}"
        );
    }
}

#[test]
fn cuts_long_names_between_characters() {
    let fits = "a".repeat(240);
    assert_eq!(encode_segment(&fits), fits);
    let long = "a".repeat(241);
    let expected = format!("{}%~{}", "a".repeat(222), SpecHash::of(long.as_bytes()));
    assert_eq!(encode_segment(&long), expected);

    let wide = "é".repeat(200);
    let segment = encode_segment(&wide);
    assert!(segment.len() <= 240);
    assert!(segment.starts_with(&"%C3%A9".repeat(37)));
    assert_eq!(segment.find("%~"), Some(222));
    assert!(is_manifest_file_name(&format!("{segment}.yaml")));
}

#[test]
fn foreign_file_names_are_not_ours() {
    for name in [
        "README.md",
        "Deployment.yaml",
        "a.yml",
        "a.YAML",
        ".yaml",
        ".sops.yaml",
        "kustomization.yaml",
        "cloudbuild.yaml",
        "con.yaml",
        "a b.yaml",
        "a%3ab.yaml",
        "a%61.yaml",
        "a%.yaml",
        "a%3.yaml",
        "a%+3.yaml",
        "%FF.yaml",
        "a.yaml.yaml",
        "a%~0123456789abcdef.yaml",
        "é.yaml",
    ] {
        assert!(!is_manifest_file_name(name), "{name}");
    }
    let short_hash = format!("{}%~0123456789ABCDEF.yaml", "a".repeat(222));
    assert!(!is_manifest_file_name(&short_hash));
}

#[test]
fn versions_of_core_have_a_grammar() {
    for version in ["v1", "v10", "v1beta1", "v2alpha12"] {
        assert!(is_api_version(version), "{version}");
    }
    for other in [
        "",
        "v",
        "apps",
        "v1gamma1",
        "v1beta",
        "vbeta1",
        "1",
        "v1.2",
        "vv1",
        "V1",
        "v1alpha1beta1",
    ] {
        assert!(!is_api_version(other), "{other}");
    }
}

/// Names that are near each other in every way that a file system might confuse.
fn name() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "A",
        "v1",
        "V1",
        "%41",
        "%",
        "~",
        ".",
        ".yaml",
        "con",
        "nul",
        "aux",
        "prn",
        "com1",
        "LPT9",
        "COM\u{b9}",
        "conin$",
        "x",
        ":",
        "%3A",
        "%3a",
        " ",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "ſ",
        "k",
        "\u{212A}",
        "apps",
        "/",
        "\\",
        "%~",
        "0123456789abcdef",
    ]);
    prop_oneof![
        4 => prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat()),
        1 => "[ab:É]{225,260}",
        1 => any::<String>().prop_filter("names are not empty", |name| !name.is_empty()),
    ]
}

fn any_identity() -> impl Strategy<Value = Identity> {
    let core = (Just(String::new()), "v[12](beta[12])?");
    let grouped = (name(), name());
    (
        prop_oneof![core, grouped],
        name(),
        prop_oneof![Just(String::new()), name()],
        name(),
    )
        .prop_map(|((group, version), resource, namespace, name)| {
            identity(&group, &version, &resource, &namespace, &name)
        })
}

/// What the most forgetful file system makes of a path: lower case, no trailing dots or spaces.
fn folded(path: &str) -> Vec<String> {
    path.split('/')
        .map(|segment| {
            segment
                .to_lowercase()
                .trim_end_matches(['.', ' '])
                .to_owned()
        })
        .collect()
}

/// What Windows opens as a device, in any folder: Microsoft's "Naming Files, Paths, and Namespaces" and the
/// consoles, which it does not name there.
fn is_device(segment: &str) -> bool {
    let stem = segment.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_uppercase();
    let ports = ["COM", "LPT"].iter().any(|port| {
        let number = stem.strip_prefix(port).unwrap_or_default();
        number.chars().count() == 1
            && number
                .chars()
                .all(|c| c.is_ascii_digit() || "¹²³".contains(c))
    });
    ports || ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_two_identities_meet(identities in prop::collection::vec(any_identity(), 2..8)) {
        let distinct: BTreeSet<_> = identities.iter().collect();
        let paths: BTreeSet<_> = distinct.iter().map(|it| folded(&file_path("base", it))).collect();
        prop_assert_eq!(paths.len(), distinct.len());
        for one in &paths {
            for other in &paths {
                prop_assert!(one == other || !other.starts_with(one), "{:?} is a directory of {:?}", one, other);
            }
        }
    }

    #[test]
    fn encoding_is_injective(one in name(), other in name()) {
        prop_assert_eq!(
            encode_segment(&one).to_lowercase() == encode_segment(&other).to_lowercase(),
            one == other
        );
    }

    #[test]
    fn segments_are_portable(name in name()) {
        let segment = encode_segment(&name);
        prop_assert!(segment.len() <= 240);
        prop_assert!(!segment.starts_with('.') && !segment.ends_with('.') && !segment.ends_with(".yaml"));
        let kept = |b: u8| b.is_ascii_alphanumeric() || b"-_.%~".contains(&b);
        prop_assert!(segment.bytes().all(kept));
        // ASCII of one case but for the escapes: there is nothing to fold, to normalise or to ignore.
        let plain = segment.split('%').enumerate().flat_map(|(at, part)| part.bytes().skip(if at == 0 { 0 } else { 2 }));
        prop_assert!(plain.clone().all(|b| !b.is_ascii_uppercase()), "{}", segment);
        prop_assert!(!is_device(&segment), "{}", segment);
        let file = format!("{}.yaml", segment);
        prop_assert!(is_manifest_file_name(&file));
    }

    #[test]
    fn only_images_of_the_encoding_are_ours(stem in "[a-cA-C.%~2E]{1,8}") {
        let file = format!("{}.yaml", stem);
        let image = stem == "%" || decode(&stem).is_some_and(|name| encode_segment(&name) == stem);
        prop_assert_eq!(is_manifest_file_name(&file), image);
    }

    #[test]
    fn files_are_under_their_directories(identity in any_identity()) {
        let Identity { group, version, resource, .. } = &identity;
        let path = file_path("base", &identity);
        let types = type_directory("base", group, version, resource);
        let groups = group_directory("base", group);
        let under_types = format!("{}/", types);
        let under_groups = format!("{}/", groups);
        prop_assert!(path.starts_with(&under_types));
        prop_assert!(types.starts_with(&under_groups));
        let first = path.split('/').nth(1).expect("below the base");
        prop_assert_eq!(is_api_version(first), group.is_empty());
    }
}
