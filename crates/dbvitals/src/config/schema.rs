//! Holds the JSON Schema to what is read: the same keys, the same words, and every example of the
//! documents valid. The program only prints the schema; it never validates with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dbvitals_verdict::{Cause, Class, Depth, Want};
use serde_json::Value;

use super::{DEFAULT_TOML, SCHEMA_JSON, agent_checks, file, gates, hooks, services};
use crate::agent::hooks::Occasion;
use crate::duration;

fn schema() -> Value {
    serde_json::from_str(SCHEMA_JSON).unwrap()
}

/// The names that a schema has at a place.
fn names<'a>(schema: &'a Value, pointer: &str) -> BTreeSet<&'a str> {
    let found = schema
        .pointer(pointer)
        .unwrap_or_else(|| panic!("no {pointer}"));
    if let Some(map) = found.as_object() {
        return map.keys().map(String::as_str).collect();
    }
    let values = found.as_array().unwrap();
    values.iter().filter_map(Value::as_str).collect()
}

fn check_names<'a>(pointer: &str, read: impl IntoIterator<Item = &'a str>) {
    let schema = schema();
    let read: BTreeSet<_> = read.into_iter().collect();
    assert_eq!(names(&schema, pointer), read, "{pointer}");
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    check_names("/properties", file::SECTIONS);
    check_names("/properties/agent/properties", file::AGENT_KEYS);
    check_names("/properties/defaults/properties", file::PACE_KEYS);
    check_names(
        "/properties/backend/additionalProperties/properties",
        file::BACKEND_KEYS.into_iter().chain(file::PACE_KEYS),
    );
    check_names(
        "/properties/gate/additionalProperties/properties",
        gates::KEYS,
    );
    let service = "/properties/service/additionalProperties/properties";
    check_names(service, services::KEYS);
    let check = "/properties/agent_check/additionalProperties/properties";
    check_names(check, agent_checks::KEYS);
    let hook = "/properties/hook/additionalProperties/properties";
    check_names(hook, hooks::KEYS);
    check_names(
        "/properties/classes/properties",
        Cause::ALL.map(Cause::name),
    );
}

#[test]
fn the_schema_has_the_words_that_are_read() {
    check_names("/$defs/class/enum", Class::ALL.map(Class::name));
    let occasions = Occasion::WORDS.map(|(word, _)| word);
    let hook = "/properties/hook/additionalProperties/properties";
    check_names(&format!("{hook}/on/items/enum"), occasions);
    let backend = "/properties/backend/additionalProperties/properties";
    let depths = Depth::ALL.map(Depth::name);
    let depths = depths
        .into_iter()
        .filter(|it| crate::depth::parse(it).is_ok());
    check_names(&format!("{backend}/depth/enum"), depths);
    for kind in ["backend", "service", "gate", "agent_check"] {
        let want = format!("/properties/{kind}/additionalProperties/properties/want/enum");
        check_names(&want, Want::ALL.map(Want::name));
    }
}

#[test]
fn the_schema_s_defaults_are_those_of_the_default_file() {
    let file: Value = toml::from_str(DEFAULT_TOML).unwrap();
    let schema = schema();
    for section in ["agent", "defaults"] {
        let properties = &schema["properties"][section]["properties"];
        let properties = properties.as_object().unwrap();
        for (key, property) in properties {
            assert_eq!(property.get("default"), file[section].get(key), "{key}");
        }
    }
}

#[test]
fn what_the_schema_forbids_is_told() {
    let check_wrong = |text: &str, part: &str| {
        let told = faults_of(text);
        assert!(told.iter().any(|it| it.contains(part)), "{text}: {told:?}");
    };
    let good = "[backend.a]\nurl = \"tcp://h:1\"\n";
    assert_eq!(faults_of(good), [""; 0]);
    check_wrong("[backend.a]\nfall = 2\n", "backend.a: url is missing");
    check_wrong(
        &format!("{good}intervall = \"1s\"\n"),
        "intervall is unknown",
    );
    check_wrong(&format!("{good}fall = \"2\"\n"), "fall is no integer");
    check_wrong(&format!("{good}fall = 0\n"), "fall is below 1");
    check_wrong(
        &format!("{good}interval = \"5\"\n"),
        "interval has no letter",
    );
    check_wrong(&format!("{good}depth = \"deep\"\n"), "depth is none of");
}

#[test]
fn every_example_in_the_documents_is_valid() {
    let mut examples = vec![(PathBuf::from("config/default.toml"), example_of_defaults())];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for page in pages(&root) {
        let text = fs::read_to_string(&page).unwrap();
        examples.extend(toml_blocks(&text).map(|block| (page.clone(), block)));
    }
    for (page, text) in &examples {
        let page = page.display();
        assert_eq!(faults_of(text), [""; 0], "{page}:\n{text}");
        // Files with passwords are on the reader's machine, not here.
        let errors = file::plan(text).err().unwrap_or_default();
        let wrong = errors.into_iter().filter(|error| {
            let message = &error.message;
            !message.contains("the user that runs dbvitals")
                && !message.contains("is planned and not there yet")
        });
        assert_eq!(wrong.collect::<Vec<_>>(), [], "{page}:\n{text}");
    }
    assert!(examples.len() > 5, "only {} examples", examples.len());
}

fn example_of_defaults() -> String {
    format!("{DEFAULT_TOML}\n[backend.x]\nurl = \"mysql://u@h\"\n")
}

/// The documents whose examples are whole files.
fn pages(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("docs/operating")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    pages.push(root.join("README.md"));
    pages.sort();
    pages
}

fn toml_blocks(page: &str) -> impl Iterator<Item = String> + '_ {
    let blocks = page.split("\n```toml\n").skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap_or(rest).to_owned() + "\n")
}

/// What a schema finds wrong with a file; sections that a later version brings are passed over.
fn faults_of(text: &str) -> Vec<String> {
    let mut value: Value = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let sections = value.as_object_mut().unwrap();
    sections.retain(|key, _| !file::LATER_SECTIONS.contains(&key.as_str()));
    let services = sections.get_mut("service").and_then(Value::as_object_mut);
    for service in services.into_iter().flat_map(|it| it.values_mut()) {
        let keys = service.as_object_mut().unwrap();
        keys.retain(|key, _| !services::LATER_KEYS.contains(&key.as_str()));
    }
    let mut faults = Vec::new();
    let schema = schema();
    validate(&schema, &schema, &value, "", &mut faults);
    faults
}

/// A validator of as much of JSON Schema as the schema uses, and of nothing else.
fn validate(root: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let said = schema.as_object().unwrap();
    for (keyword, rule) in said {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "$defs" => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                validate(root, root.pointer(pointer).unwrap(), value, place, faults);
            }
            "type" => {
                let right = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64(),
                    "array" => value.is_array(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    other => panic!("the type {other} is new here"),
                };
                if !right {
                    faults.push(format!("{place} is no {}", rule.as_str().unwrap()));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                faults.push(format!("{place} is none of {rule}"));
            }
            "minimum" if value.as_f64() < rule.as_f64() => {
                faults.push(format!("{place} is below {rule}"));
            }
            "maximum" if value.as_f64() > rule.as_f64() => {
                faults.push(format!("{place} is above {rule}"));
            }
            "enum" | "minimum" | "maximum" => {}
            "pattern" => {
                assert_eq!(rule, "[a-zA-Zµ]", "this pattern is new here");
                let text = value.as_str().unwrap_or_default();
                if !text.contains(char::is_alphabetic) {
                    faults.push(format!("{place} has no letter"));
                } else {
                    assert!(duration::parse(text).is_ok(), "{place} = {text}");
                }
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    validate(root, rule, value, place, faults);
                }
            }
            "required" => {
                for key in rule.as_array().unwrap().iter().filter_map(Value::as_str) {
                    if value.get(key).is_none() {
                        faults.push(format!("{place}: {key} is missing"));
                    }
                }
            }
            "properties" | "additionalProperties" => {}
            other => panic!("the keyword {other} is new here"),
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{key}").trim_start_matches('.').to_owned();
        let property = said.get("properties").and_then(|it| it.get(key));
        match property.or(said.get("additionalProperties")) {
            Some(Value::Bool(false)) => faults.push(format!("{place} is unknown")),
            Some(schema) if schema.is_object() => validate(root, schema, value, &place, faults),
            Some(_) | None => {}
        }
    }
}
