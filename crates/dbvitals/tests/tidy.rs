//! The rules of the repository that no compiler knows: pages of causes, headers, names, arrows
//! between crates, links. Reads files and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dbvitals_verdict::Cause;

/// What each page of a cause has, in this order.
const HEADINGS: [&str; 3] = [
    "## What it means",
    "## How it is recognised",
    "## What to do",
];

/// Words that say nothing, as the last word of a type's or module's name.
const BANNED: [&str; 7] = [
    "manager", "helper", "helpers", "util", "utils", "inner", "misc",
];

/// Which crates of ours a crate may depend on, its tests apart.
const ARROWS: [(&str, &[&str]); 7] = [
    ("verdict", &[]),
    ("wire", &[]),
    ("acceptqueue", &[]),
    ("probe", &["verdict", "wire", "acceptqueue"]),
    ("pool", &["verdict"]),
    ("testkit", &["wire"]),
    (
        "dbvitals",
        &["verdict", "wire", "acceptqueue", "probe", "pool"],
    ),
];

/// What the pure crates never say.
const IMPURE: [&str; 6] = [
    "std::net",
    "std::time::Instant",
    "SystemTime",
    "std::thread",
    "tokio",
    "async fn",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory with this extension, whatever a build leaves behind apart.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let path = entry.expect("a directory can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {}", directory.display());
    found
}

fn sources() -> Vec<PathBuf> {
    [
        files(&root().join("crates"), "rs"),
        files(&root().join("fuzz"), "rs"),
    ]
    .concat()
}

#[test]
fn every_cause_has_a_page_with_its_sentence_and_class() {
    for cause in Cause::ALL {
        let page = read(&root().join(format!("docs/causes/{cause}.md")));
        let head = format!(
            "# {cause}\n\n{}\n\nClass **{}** ",
            cause.meaning(),
            cause.default_class()
        );
        assert!(page.starts_with(&head), "{cause}.md begins with\n{head}");
        let places = HEADINGS.map(|heading| page.find(heading));
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{cause}.md needs {HEADINGS:?}, in this order"
        );
    }
}

#[test]
fn no_page_is_without_a_cause_and_the_index_has_them_all_by_class() {
    let directory = root().join("docs/causes");
    let pages: BTreeSet<_> = files(&directory, "md")
        .iter()
        .map(|path| {
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut expected: BTreeSet<_> = Cause::ALL.map(|cause| cause.name().to_owned()).into();
    expected.insert("README".to_owned());
    assert_eq!(pages, expected);
    let index = read(&directory.join("README.md"));
    for cause in Cause::ALL {
        let heading = format!("\n## {}\n", cause.default_class());
        let (_, section) = index
            .split_once(&heading)
            .expect("each class has a heading");
        let section = section.split("\n## ").next().unwrap_or_default();
        let row = format!("| [{cause}]({cause}.md) | {} |", cause.meaning());
        assert!(section.contains(&row), "{row} is missing in the index");
    }
}

#[test]
fn every_source_file_opens_with_a_header() {
    let bare: Vec<_> = sources()
        .into_iter()
        .filter(|path| !read(path).starts_with("//! "))
        .collect();
    assert!(bare.is_empty(), "without a //! header: {bare:#?}");
}

#[test]
fn no_type_or_module_has_a_name_that_says_nothing() {
    let mut wrong = Vec::new();
    for path in sources() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if stem == "mod" || says_nothing(&stem) {
            wrong.push(path.display().to_string());
        }
        for line in read(&path).lines() {
            if let Some(name) = declared(line).filter(|name| says_nothing(name)) {
                wrong.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The name that a line declares for a type or a module, where it does.
fn declared(line: &str) -> Option<&str> {
    let kinds = ["struct", "enum", "union", "trait", "type", "mod"];
    let mut words = line
        .split_whitespace()
        .filter(|word| !word.starts_with("pub"));
    let kind = words.next()?;
    if kind == "type" && line.starts_with(char::is_whitespace) {
        // A trait that is somebody else's may have named it.
        return None;
    }
    let name = words.next().filter(|_| kinds.contains(&kind))?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
}

fn says_nothing(name: &str) -> bool {
    let last_hump = name.rfind(char::is_uppercase).unwrap_or_default();
    let last_part = name.rfind('_').map_or(0, |at| at + 1);
    let word = name[last_hump.max(last_part)..].to_lowercase();
    BANNED.contains(&word.as_str())
}

#[test]
fn names_are_judged_by_their_last_word() {
    assert!(says_nothing("SessionManager"));
    assert!(says_nothing("dial_util"));
    assert!(says_nothing("Inner"));
    assert!(!says_nothing("Spinner"));
    assert!(!says_nothing("Utilisation"));
    assert_eq!(
        declared("    pub(crate) struct Spinner<'a> {"),
        Some("Spinner")
    );
    assert_eq!(declared("mod held;"), Some("held"));
    assert_eq!(declared("    type TransactionManager = Never;"), None);
    assert_eq!(declared("// a struct"), None);
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    let crates = fs::read_dir(root().join("crates")).expect("there are crates");
    for entry in crates {
        let path = entry.expect("a directory can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let arrows = ARROWS.iter().find(|(it, _)| *it == name);
        let (_, allowed) = arrows.unwrap_or_else(|| panic!("{name} has no arrows here"));
        for used in dependencies(&read(&path.join("Cargo.toml"))) {
            assert!(
                allowed.contains(&&*used),
                "{name} must not depend on {used}"
            );
        }
    }
}

/// The crates of ours that a manifest names, but for its tests.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut in_tests = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_tests = line.contains("dev-dependencies");
        }
        let ours = line.strip_prefix("dbvitals-").filter(|_| !in_tests);
        found.extend(
            ours.and_then(|it| it.split([' ', '.', '=']).next())
                .map(str::to_owned),
        );
    }
    found
}

#[test]
fn the_pure_crates_know_no_socket_no_clock_and_no_runtime() {
    for name in ["verdict", "wire"] {
        for path in files(&root().join("crates").join(name).join("src"), "rs") {
            let text = read(&path);
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let said = IMPURE.iter().find(|word| line.contains(**word));
                assert_eq!(said, None, "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn documents_link_to_files_that_exist() {
    let mut documents = files(&root().join("docs"), "md");
    for name in ["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG"] {
        documents.push(root().join(name).with_extension("md"));
    }
    let mut links = 0;
    for document in documents {
        let directory = document.parent().expect("a file is in a directory");
        for link in read(&document).split("](").skip(1) {
            let (link, _) = link.split_once(')').unwrap_or((link, ""));
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || link.contains("://") {
                continue;
            }
            let target = directory.join(file);
            assert!(target.exists(), "{}: {link}", document.display());
            links += 1;
        }
    }
    assert!(links > Cause::ALL.len(), "only {links} links were found");
}
